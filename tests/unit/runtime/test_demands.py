"""What servers ask of the next sign-in is remembered for that sign-in."""

from acp_stdio.identity.model import Session
from acp_stdio.identity.step_up import StepUp
from acp_stdio.runtime.demands import Demands

SESSION = Session(generation=3, signed_in=True, account=None)
LATER = Session(generation=4, signed_in=True, account=None)


def of(demands: Demands, session: Session) -> dict[str, StepUp]:
    return demands.of({"finance": session, "payroll": session, "other": None})


def test_each_upstreams_demands_are_added_up() -> None:
    demands = Demands()
    demands.note("finance", StepUp(("a",)), SESSION)
    demands.note("finance", StepUp(("b",)), SESSION)
    demands.note("payroll", StepUp(max_age=60), SESSION)
    assert of(demands, SESSION) == {"finance": StepUp(("a", "b")), "payroll": StepUp(max_age=60)}
    assert demands.of({"finance": SESSION}) == {"finance": StepUp(("a", "b"))}


def test_a_demand_goes_with_the_sign_in_that_it_was_about() -> None:
    demands = Demands()
    demands.note("finance", StepUp(("a",)), SESSION)
    assert of(demands, LATER) == {}
    demands.note("finance", StepUp(("b",)), LATER)
    assert of(demands, LATER) == {"finance": StepUp(("b",))}
    demands.note("finance", StepUp(("c",)), None)
    assert of(demands, LATER) == {"finance": StepUp(("b",))}, "nobody was signed in"


def test_a_token_that_is_taken_again_ends_only_the_doubt_about_tokens() -> None:
    demands = Demands()
    demands.note("finance", StepUp(anew=True), SESSION)
    demands.worked("finance")
    assert of(demands, SESSION) == {}
    demands.note("finance", StepUp(("a",), anew=True), SESSION)
    demands.worked("finance")
    assert of(demands, SESSION) == {"finance": StepUp(("a",))}
    demands.worked("payroll")
