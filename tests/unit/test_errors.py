from __future__ import annotations

from amianai_infra import errors
from amianai_infra.errors import AmianaiError, ConfigurationError, LockedError, RefusedError


def test_exit_codes_as_documented() -> None:
    assert (AmianaiError.exit_code, ConfigurationError.exit_code, RefusedError.exit_code, LockedError.exit_code) == (1, 2, 3, 4)


def test_every_error_has_one_root_and_a_documented_code() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in found if issubclass(kind, AmianaiError)]
    assert kinds == found
    assert {kind.exit_code for kind in kinds} == {1, 2, 3, 4}


def test_the_text_has_what_where_and_next() -> None:
    assert str(AmianaiError("what", where="here", fix="do")) == "what\n  where: here\n  next:  do"
    assert str(AmianaiError("what")) == "what"
    assert str(AmianaiError("what", details=["one", "two"])) == "what\n  - one\n  - two"


def test_a_line_break_in_it_begins_no_line_that_could_pass_for_ours() -> None:
    error = AmianaiError("what\n  next:  a", details=["b\n  next:  c"], where="d\r\n  next:  e", fix="f\x1b[2K\u2028  next:  g")
    assert str(error).split("\n") == [
        "what",
        "  |   next:  a",
        r"  - b\n  next:  c",
        "  where: d",
        "       |   next:  e",
        r"  next:  f\x1b[2K",
        "       |   next:  g",
    ]
