"""The page of a run: artifacts/report/index.html, with tables of what it cuts short beside it.

    artifacts/*  --files.read-->  RunFiles  --sections-->  what is shown  --page.write-->  report/

evaluate writes it without a verdict, register with one; `python -m pipeline report` writes it from
what lies there. What does not belong to the same model and data is left out.
"""

from components.io.reports.run.files import RunPaths as RunPaths
from components.io.reports.run.files import usual_paths as usual_paths
from components.io.reports.run.page import Page as Page
from components.io.reports.run.page import contents as contents
from components.io.reports.run.page import up_to_date as up_to_date
from components.io.reports.run.page import write_page as write_page
