from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from amianai_infra.database.credentials import IamCredentials, Login, SecretCredentials, parse_secret
from amianai_infra.errors import AmianaiError, ForbiddenError, NotFoundError


class Manager:
    """Secrets Manager with one secret, whose value changes when it is asked often enough."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return {"SecretString": answer} if isinstance(answer, str) else answer


def of(password: str) -> str:
    return f'{{"username": "someone", "password": "{password}"}}'


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def source(manager: Manager, clock: Clock | None = None) -> SecretCredentials:
    return SecretCredentials(lambda: manager, "arn:secret", "application", clock or Clock())


def test_a_secret_is_read_once_and_again_when_it_is_refused() -> None:
    manager, clock = Manager(of("one"), of("two")), Clock()
    credentials = source(manager, clock)
    first = credentials.get()
    assert (first.user, first.password, credentials.get()) == ("someone", "one", first)
    clock.now += 1e9
    assert credentials.get() == first
    assert manager.asked == 1
    assert credentials.renew(first).password == "two"
    assert credentials.renew(first).password == "two", "somebody else has renewed it already"
    assert manager.asked == 2


def test_a_burst_of_refusals_reads_it_once() -> None:
    manager, clock = Manager(of("one"), of("one"), of("two")), Clock()
    credentials = source(manager, clock)
    refused = credentials.get()
    clock.now += 1
    threads = [threading.Thread(target=credentials.renew, args=(refused,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert manager.asked == 2
    clock.now += 1
    assert credentials.renew(refused).password == "two"


def failing(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "GetSecretValue")


def test_an_empty_secret_says_who_fills_it() -> None:
    answers: tuple[Any, ...] = (failing("ResourceNotFoundException"), {})
    for answer in answers:
        with pytest.raises(NotFoundError, match="db migrate"):
            source(Manager(answer)).get()


def test_what_may_not_be_read_is_forbidden() -> None:
    with pytest.raises(ForbiddenError):
        source(Manager(failing("AccessDeniedException"))).get()


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '{"password": "hunter2"}', '"hunter2"'])
def test_another_form_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(AmianaiError) as caught:
        parse_secret(text, "arn:secret")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_login_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(Login("someone", "hunter2"))


def test_tokens_are_signed_again_before_they_end() -> None:
    class Rds:
        made = 0

        def generate_db_auth_token(self, **asked: Any) -> str:
            assert asked == {"DBHostname": "db.example", "Port": 5432, "DBUsername": "someone_iam", "Region": "us-east-1"}
            self.made += 1
            return f"token {self.made}"

    rds, clock = Rds(), Clock()
    credentials = IamCredentials(lambda: rds, "db.example", 5432, "someone_iam", "us-east-1", clock)
    assert credentials.get() == Login("someone_iam", "token 1")
    clock.now += 500
    assert credentials.get().password == "token 1"
    clock.now += 200
    assert credentials.get().password == "token 2"
    clock.now += 1
    assert credentials.renew(credentials.get()).password == "token 3"
