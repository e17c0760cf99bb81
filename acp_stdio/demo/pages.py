"""The three pages of the demo's identity provider. No scripts, nothing loaded from elsewhere."""

from typing import Final

from flask import render_template_string

from acp_stdio.demo.people import PEOPLE

_LAYOUT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} · Acme (demo)</title>
<style>
  :root { --page: #f3f4f7; --card: #fff; --ink: #1b1f27; --quiet: #5b6472; --line: #d5d9e0;
          --accent: #1f5fbf; --bad: #a3231d }
  @media (prefers-color-scheme: dark) {
    :root { --page: #14171c; --card: #1d2128; --ink: #e8eaee; --quiet: #9aa3b1; --line: #363c47;
            --accent: #7fb0ff; --bad: #ff9c94 } }
  * { box-sizing: border-box }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
         background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
  main { width: 100%; max-width: 23rem; background: var(--card); border: 1px solid var(--line);
         border-radius: 14px; padding: 2rem }
  h1 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .25rem }
  p { margin: 0 0 1.25rem; color: var(--quiet) }
  label { display: block; font-size: .9rem; font-weight: 600; margin-bottom: 1rem }
  input { display: block; width: 100%; margin-top: .3rem; padding: .6rem .7rem; font: 400 1rem system-ui;
          color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: 8px }
  button { width: 100%; padding: .65rem; font: inherit; font-weight: 600; border-radius: 8px;
           border: 1px solid var(--accent); background: var(--accent); color: var(--card); cursor: pointer }
  button.second { margin-top: .6rem; background: none; color: var(--accent) }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
  .bad { color: var(--bad) }
  footer { margin-top: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
           font-size: .85rem; color: var(--quiet) }
</style>
<main>
  <h1>{{ title }}</h1>
"""

_SIGN_IN: Final = (
    _LAYOUT
    + """\
  <p>{{ what_for }}</p>
  {% if problem %}<p class="bad" role="alert">{{ problem }}</p>{% endif %}
  <form method="post">
    <input type="hidden" name="csrf" value="{{ csrf }}">
    {% if user_code is not none %}
    <label>Code shown on the device
      <input name="user_code" value="{{ user_code }}" autocomplete="off" required></label>
    {% endif %}
    <label>Account <input name="account" value="{{ account }}" autocomplete="username" required></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
    <button name="answer" value="sign-in">Sign in</button>
    <button class="second" name="answer" value="refuse" formnovalidate>Cancel</button>
  </form>
  <footer>A demo on your own machine. Its people:
    {% for p in people %}{{ p.account }} / {{ p.password }}{% if not loop.last %}, {% endif %}{% endfor %}.
  </footer>
</main>
"""
)

_MESSAGE: Final = _LAYOUT + "  <p>{{ text }}</p>\n</main>\n"


def sign_in(what_for: str, csrf: str, account: str = "", problem: str = "", user_code: str | None = None) -> str:
    """The form; with `user_code` (even an empty one) it also asks for a device's code."""
    return render_template_string(
        _SIGN_IN,
        title="Sign in to Acme",
        what_for=what_for,
        csrf=csrf,
        account=account,
        problem=problem,
        user_code=user_code,
        people=PEOPLE.values(),
    )


def message(title: str, text: str) -> str:
    return render_template_string(_MESSAGE, title=title, text=text)
