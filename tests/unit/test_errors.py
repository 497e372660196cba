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
    assert str(AmianaiError("what", where="a\nb", fix="do\nmore")) == "what\n  where: a\n         b\n  next:  do\n         more"
