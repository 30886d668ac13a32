"""All cases. A later family adds its list here."""
from tests.losses import (cases_binary, cases_boxes, cases_classes, cases_classifier, cases_margins,  # noqa: F401
                          cases_masks, cases_pairs, cases_regression, cases_regularisers,
                          cases_sequences, cases_whole, examples, reference_boxes, reference_classifier,
                          reference_elements, reference_margins, reference_masks, reference_pairs,
                          reference_rows, reference_sequences, reference_whole)

_FAMILIES = (cases_regression, cases_binary, cases_classes, cases_margins, cases_classifier, cases_masks,
             cases_pairs, cases_regularisers, cases_boxes, cases_sequences, cases_whole, examples)


def cases():
    return [case for family in _FAMILIES for case in family.cases()]
