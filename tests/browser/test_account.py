"""Sign-up, confirmation, sign-in, refresh, sign-out, and the page that only a signed-in person sees.

The emulator takes one known code for new addresses and one for forgotten passwords. It does not rotate refresh tokens:
that the site keeps a rotated one is shown with an answer made up here; that AWS really sends one is for AWS to show.
"""

from __future__ import annotations

import json
import re
import uuid

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.sandbox]

PASSWORD = "Correct-Horse-42-Staple"
CODE = "123456"
RESET_CODE = "654321"
REFRESH = "AWSCognitoIdentityProviderService.GetTokensFromRefreshToken"


def new_address() -> str:
    return f"visitor-{uuid.uuid4().hex[:12]}@example.test"


def register(visit: Visit, email: str, password: str = PASSWORD) -> None:
    visit.page.goto(visit.url("sign-up/"))
    visit.page.get_by_label("E-mail").fill(email)
    visit.page.get_by_label("Password").fill(password)
    visit.page.get_by_role("button", name="Create account").click()


def sign_up(visit: Visit) -> str:
    """Create an account, confirm it, and arrive on its page. Returns the address."""
    email = new_address()
    register(visit, email)
    visit.page.get_by_label("Code").fill(CODE)
    visit.page.get_by_role("button", name="Confirm").click()
    expect_account(visit, email)
    return email


def sign_in(visit: Visit, email: str, password: str = PASSWORD) -> None:
    visit.page.get_by_label("E-mail").fill(email)
    visit.page.get_by_label("Password").fill(password)
    visit.page.get_by_role("button", name="Sign in").click()


def expect_account(visit: Visit, email: str) -> None:
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Your account")
    expect(visit.page.get_by_text(f"Signed in as {email}")).to_be_visible()
    expect(visit.page).to_have_url(visit.url("account/"))


def expect_turned_away(visit: Visit) -> None:
    expect(visit.page).to_have_url(visit.url("sign-in/?next=%2Faccount%2F"))
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(visit.page.get_by_text("Signed in as")).to_have_count(0)


def session_since(visit: Visit) -> str:
    return visit.page.locator("time").first.get_attribute("datetime") or ""


def stored(visit: Visit, kind: str) -> str:
    """What the browser keeps of the session under a key that ends so."""
    script = "(kind) => localStorage.getItem(Object.keys(localStorage).find((key) => key.endsWith('.' + kind)) ?? '')"
    return str(visit.page.evaluate(script, kind))


def test_a_visitor_becomes_a_member_and_leaves(visit: Visit) -> None:
    email = sign_up(visit)

    visit.page.reload()
    expect_account(visit, email)
    expect(visit.page.get_by_role("navigation", name="Main").get_by_role("link", name="Account")).to_be_visible()

    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)
    assert visit.page.evaluate("Object.keys(localStorage).filter((key) => key.endsWith('Token'))") == []

    visit.page.goto(visit.url("account/"))
    expect_turned_away(visit)
    sign_in(visit, email)
    expect_account(visit, email)


def test_a_stranger_is_turned_away(visit: Visit) -> None:
    visit.page.goto(visit.url("account/"))

    expect_turned_away(visit)


def test_a_made_up_session_is_turned_away(visit: Visit) -> None:
    sign_up(visit)
    visit.expected = ("400",)  # Cognito refuses the token
    visit.page.evaluate(
        """() => { for (const key of Object.keys(localStorage)) {
            if (/\\.(accessToken|idToken)$/.test(key)) localStorage.setItem(key, localStorage.getItem(key).replace(/[^.]+$/, "AAAA"));
            if (key.endsWith(".refreshToken")) localStorage.setItem(key, "made-up");
        } }"""
    )

    visit.page.goto(visit.url("account/"))

    expect_turned_away(visit)


def test_session_is_refreshed_on_request(visit: Visit) -> None:
    email = sign_up(visit)
    before = session_since(visit)
    visit.page.wait_for_timeout(1100)  # tokens count whole seconds

    with visit.page.expect_request(lambda request: request.headers.get("x-amz-target") == REFRESH):
        visit.page.get_by_role("button", name="Refresh session").click()

    expect(visit.page.get_by_text("Session refreshed.")).to_be_visible()
    assert session_since(visit) > before
    visit.page.reload()
    expect_account(visit, email)


def test_an_expired_token_is_refreshed_unasked_and_a_rotated_one_kept(visit: Visit) -> None:
    email = sign_up(visit)

    def rotate(route: Route) -> None:
        if route.request.headers.get("x-amz-target") != REFRESH:
            route.fallback()
            return
        answer = route.fetch()
        body = answer.json()
        body["AuthenticationResult"]["RefreshToken"] = "rotated"
        route.fulfill(response=answer, body=json.dumps(body))

    visit.page.route(re.compile(".*"), rotate)
    # The library reckons with a clock that is off: two days off, and every token has expired.
    visit.page.evaluate(
        """() => { for (const key of Object.keys(localStorage)) {
            if (key.endsWith(".clockDrift")) localStorage.setItem(key, String(2 * 24 * 3600 * 1000));
        } }"""
    )

    with visit.page.expect_request(lambda request: request.headers.get("x-amz-target") == REFRESH):
        visit.page.reload()

    expect_account(visit, email)
    assert stored(visit, "refreshToken") == "rotated"


def test_signing_out_in_one_tab_closes_the_other(visit: Visit) -> None:
    email = sign_up(visit)
    other = visit.page.context.new_page()
    other.goto(visit.url("account/"))
    expect(other.get_by_text(f"Signed in as {email}")).to_be_visible()

    other.get_by_role("button", name="Sign out").click()

    expect_turned_away(visit)


def test_a_wrong_password_is_explained(visit: Visit) -> None:
    email = sign_up(visit)
    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)
    visit.expected = ("400",)  # how Cognito refuses

    sign_in(visit, email, "Wrong-Horse-42-Staple")

    expect(visit.page.get_by_role("alert").get_by_text("E-mail address or password is wrong.")).to_be_visible()
    visit.page.goto(visit.url("account/"))
    expect_turned_away(visit)


def test_a_weak_password_is_explained(visit: Visit) -> None:
    visit.expected = ("400",)

    register(visit, new_address(), "short")

    expect(visit.page.locator("form").get_by_role("alert")).to_contain_text(re.compile("password", re.IGNORECASE))


def shown_to(visit: Visit, email: str) -> list[str]:
    """All that the pages say to somebody who signs up with an address, enters a wrong code, wants another, and forgets the password."""
    seen = []

    def look() -> None:
        seen.append(visit.page.locator("main").inner_text().replace(email, "ADDRESS"))

    register(visit, email)
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Check your e-mail")
    look()
    visit.page.get_by_label("Code").fill("000000")
    visit.page.get_by_role("button", name="Confirm").click()
    expect(visit.page.locator("form").get_by_role("alert")).not_to_be_empty()
    look()
    visit.page.get_by_role("button", name="Send the code again").click()
    expect(visit.page.get_by_text("A new code is on its way.")).to_be_visible()
    look()
    visit.page.goto(visit.url("reset-password/"))
    visit.page.get_by_label("E-mail").fill(email)
    visit.page.get_by_role("button", name="Send the code").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Choose a new password")
    look()
    return seen


def test_the_pages_tell_nobody_who_has_an_account(visit: Visit) -> None:
    taken = sign_up(visit)
    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)
    visit.expected = ("400",)  # Cognito itself tells, which a developer's tools show

    assert shown_to(visit, taken) == shown_to(visit, new_address())


def test_a_taken_address_takes_one_request_like_a_new_one(visit: Visit) -> None:
    """A second request would tell by its time."""
    taken = sign_up(visit)
    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)
    visit.expected = ("400",)
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.headers.get("x-amz-target", "")))

    for email in (taken, new_address()):
        asked.clear()
        register(visit, email)
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("Check your e-mail")
        assert [target for target in asked if target] == ["AWSCognitoIdentityProviderService.SignUp"]


def test_whoever_confirms_an_address_that_somebody_else_took_chooses_a_new_password(visit: Visit) -> None:
    email = new_address()
    register(visit, email, "Somebody-Elses-44-Staple")  # and never confirmed: the code goes to the owner
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Check your e-mail")
    visit.expected = ("400",)

    register(visit, email)
    visit.page.get_by_role("button", name="Send the code again").click()
    expect(visit.page.get_by_text("A new code is on its way.")).to_be_visible()
    visit.page.get_by_label("Code").fill(CODE)
    visit.page.get_by_role("button", name="Confirm").click()

    expect(visit.page).to_have_url(visit.url("reset-password/"))


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (("ForbiddenException", "Request not allowed due to WAF block."), "Too many attempts"),
        (("NotAuthorizedException", "SignUp is not permitted for this user pool"), "New accounts are not open to everybody here."),
    ],
    ids=["request limit", "operators only"],
)
def test_a_closed_sign_up_is_explained(visit: Visit, refusal: tuple[str, str], said: str) -> None:
    """Answers made up here: the sandbox limits no requests, and its pool is open."""
    code, message = refusal

    def refuse(route: Route) -> None:
        if route.request.headers.get("x-amz-target") != "AWSCognitoIdentityProviderService.SignUp":
            route.fallback()
            return
        headers = {"access-control-allow-origin": "*", "x-amzn-errortype": code}
        body = json.dumps({"__type": code, "message": message})
        route.fulfill(status=400, headers=headers, content_type="application/x-amz-json-1.1", body=body)

    visit.page.route(re.compile(".*"), refuse)
    visit.expected = ("400",)

    register(visit, new_address())

    expect(visit.page.locator("form").get_by_role("alert")).to_contain_text(said)


def test_an_unconfirmed_address_is_confirmed_at_sign_in(visit: Visit) -> None:
    email = new_address()
    register(visit, email)
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Check your e-mail")
    visit.page.goto(visit.url("sign-in/"))  # away before the code was entered
    visit.expected = ("400",)

    sign_in(visit, email)
    visit.page.get_by_label("Code").fill(CODE)
    visit.page.get_by_role("button", name="Confirm").click()

    expect_account(visit, email)


def test_a_forgotten_password_is_replaced(visit: Visit) -> None:
    email = sign_up(visit)
    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)

    visit.page.get_by_role("link", name="Forgot your password?").click()
    send = visit.page.get_by_role("button", name="Send the code")
    expect(send).to_be_visible()  # the page that is left has a field of the same name
    visit.page.get_by_label("E-mail").fill(email)
    send.click()
    visit.page.get_by_label("Code").fill(RESET_CODE)
    visit.page.get_by_label("New password").fill("Another-Horse-43-Staple")
    visit.page.get_by_role("button", name="Set password").click()

    expect_account(visit, email)


def test_the_return_address_stays_on_the_site(visit: Visit) -> None:
    email = sign_up(visit)
    visit.page.get_by_role("button", name="Sign out").click()
    expect_turned_away(visit)

    visit.page.goto(visit.url("sign-in/?next=//evil.example/"))
    sign_in(visit, email)

    expect_account(visit, email)
