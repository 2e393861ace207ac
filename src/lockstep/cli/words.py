"""Numbers in words, as `lockstep.reports.words` has them: terminal and page say the same."""

from lockstep.reports.words import METRICS as METRICS
from lockstep.reports.words import NOTHING as NOTHING
from lockstep.reports.words import count as count
from lockstep.reports.words import counted as counted
from lockstep.reports.words import duration as duration
from lockstep.reports.words import instant as instant
from lockstep.reports.words import metric as metric
from lockstep.reports.words import number as number
from lockstep.reports.words import parameter as parameter
from lockstep.reports.words import size as size
