"""Which shells take a stopped child for a suspended job."""

import pytest

from qtapture.capture.job_control import has_job_control


@pytest.mark.parametrize(
    ("words", "on_terminal", "expected"),
    [
        ("bash", True, True),
        ("-bash", True, True),
        ("/usr/bin/zsh -l", True, True),
        ("bash --norc", True, True),
        ("bash", False, False),
        ("bash -c true", True, False),
        ("bash -ec true", True, False),
        ("sh script.sh", True, False),
        ("bash -i -c true", False, True),
        ("bash -lic true", True, True),
        ("sh -m script.sh", False, True),
        ("bash script.sh -i", True, False),
        ("python3", True, False),
        ("", True, False),
    ],
)
def test_job_control_is_for_interactive_shells(
    words: str, on_terminal: bool, expected: bool
) -> None:
    assert has_job_control(words.split(), on_terminal=on_terminal) is expected
