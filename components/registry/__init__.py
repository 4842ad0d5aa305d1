"""The model registry: versions, who is champion, and the audit log that says why.

versions      one version per model folder, with the gate's verdict on it
package       a model folder wrapped as an MLflow model
served_model  the code that runs inside a registered model
verification  whether a stored package has its bytes and predicts like its model folder
stored_model  a version's model folder on this machine, found without MLflow once it is here
smoke_test    the script that predicts in that process
signature     who made a package: over all its files, if a key is configured
loading       a registered model for use, proved before any of its code runs
audit_log     who decided what and why, append-only; the truth that aliases follow
adoption      the audit log of a model that somebody else made
version_1     reads what version 1 stored under other names
lock          one at a time
champion      who is champion, and whether alias and audit log agree
promotion     moving `champion` as one transaction
decisions     the decision on a version with its evidence, read back
approvals     what a person decides: approve, reject, roll back
retention     which stored weights are old enough to be deleted
deletion      deleting them
"""
