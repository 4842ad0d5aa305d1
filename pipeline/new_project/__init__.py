"""`init`: from a folder of somebody's images to a project that is set up for them.

source       what lies in the folder, and whether it can be used
facts        what choices are made from
choices      settings for such data on such a machine, with reasons: values in, values out
params_file  params.yaml with these settings; everything else in it stays as it is
setup        images, tables and settings in place; nothing of the user's is lost
summary      what was found and chosen, in lines
"""
