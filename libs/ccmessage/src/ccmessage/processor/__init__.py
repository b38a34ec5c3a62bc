"""Message processor: options → compiled rules → messages renamed, tagged, converted or dropped."""

from ..expr import RuleError
from .options import ProcessorOptions
from .plan import Dropped, Failure, Processor, RuleErrors

__all__ = ["Dropped", "Failure", "Processor", "ProcessorOptions", "RuleError", "RuleErrors"]
