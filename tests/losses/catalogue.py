"""All cases. A later family adds its list here."""
from tests.losses import (cases_binary, cases_classes, cases_regression, reference_elements,  # noqa: F401
                          reference_rows)

_FAMILIES = (cases_regression, cases_binary, cases_classes)


def cases():
    return [case for family in _FAMILIES for case in family.cases()]
