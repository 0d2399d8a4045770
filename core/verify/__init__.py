"""Is a layer whole? Everything that would make a restore fail, hang or run on wrong memory, found before anything is touched.

CRIU notices little of it: a pages file that is too short makes it loop for ever, a missing fdinfo gives a task without descriptors, a
punched page reads as zeros. Here each layer is checked once, against its direct parent only, however many descendants it has (`chain`);
the other files are the parts of that check.
"""

from lamina.core.verify.chain import Checker, check_chain, require_whole
from lamina.core.verify.reports import Report, State, verify_layer, verify_stack

__all__ = ["Checker", "Report", "State", "check_chain", "require_whole", "verify_layer", "verify_stack"]
