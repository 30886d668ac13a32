"""Random evaluations whose values spread over 40 decades (f64: 200), and the losses that read them."""
import numpy as np

from tests.losses.case import wide
from tests.support import tensors

# So many that a batch is cut into chunks and spread over the threads.
SAMPLES = 30000
CLASSES = 7

_BINDINGS = {
    "hinge": {"targets": "signs"},
    "hinge_embedding": {"distances": "predictions", "targets": "signs"},
    "binary_cross_entropy": {"logits": "predictions", "targets": "fractions"},
    "balanced_binary_cross_entropy": {"logits": "predictions", "targets": "fractions"},
    "focal": {"logits": "predictions", "targets": "fractions"},
    "zero_one": {"logits": "class_logits", "labels": "labels"},
    "cross_entropy": {"logits": "class_logits", "labels": "labels"},
    "entropy": {"logits": "class_logits"},
    "kl_divergence": {"logits": "class_logits"},
}


def losses():
    """Every way of summing: signed, weighted, denominators of their own, several sums a loss."""
    kinds = (("mse", {}), ("mae", {}), ("mean_bias", {}), ("huber", {"delta": 1e3}), ("log_cosh", {}),
             ("quantile", {"q": 0.3}), ("hinge", {}), ("hinge_embedding", {}), ("binary_cross_entropy", {}),
             ("balanced_binary_cross_entropy", {}), ("focal", {"alpha": 0.3}), ("zero_one", {"top_k": 2}),
             ("cross_entropy", {"label_smoothing": 0.1}), ("entropy", {"unit": "BITS"}), ("kl_divergence", {}))
    return [tensors.loss(name, parameters, _BINDINGS.get(name), label=f"{name} of all")
            for name, parameters in kinds]


def inputs(random, dtype, samples=SAMPLES):
    # 40 decades, 200 with f64: so high that the squares and their products with weights are still finite.
    low, high = (-22, 18) if dtype == np.float32 else (-100, 100)
    predictions = wide(random, samples, dtype, low, high)
    # The first third comes back with the other sign: sums of all sizes cancel.
    predictions[samples // 3:samples // 3 * 2] = -predictions[:samples // 3]
    targets = wide(random, samples, dtype, low, high)
    targets[::2] = 0
    target_probs = random.random((samples, CLASSES))
    labels = random.integers(0, CLASSES, samples)
    labels[::11] = -100
    weight = np.abs(wide(random, samples, dtype, low, high))
    weight[::13] = 0
    scale = random.uniform(low, 4, (samples, 1))
    return {
        "predictions": predictions, "targets": targets, "sample_weight": weight, "labels": labels,
        "signs": random.choice([-1, 1], samples).astype(dtype), "fractions": random.random(samples).astype(dtype),
        "class_logits": (random.normal(0, 1, (samples, CLASSES)) * 10.0 ** scale).astype(dtype),
        "target_probs": (target_probs / target_probs.sum(1, keepdims=True)).astype(dtype),
    }


def rows(arrays, index):
    return {name: array[index] for name, array in arrays.items()}


def chunks(arrays, size, order=None):
    """Batches of `size` samples, in the order given."""
    count = len(arrays["labels"])
    order = np.arange(count) if order is None else order
    return [rows(arrays, order[start:start + size]) for start in range(0, count, size)]


def report(result):
    """What must be equal to the bit: values and sums as bytes, and all counts."""
    return [(entry.loss, np.float64([entry.value, entry.sum, entry.sum_weight]).tobytes(), entry.items,
             entry.ignored_items, entry.nan_items, entry.inf_items) for entry in result]


def summary(result):
    """An EvaluationResult as what must be equal: every report, the state, the statistics."""
    statistics = [np.float64([s.standard_error, s.minimum, s.maximum]).tobytes() for s in result.summaries]
    return report(s.result for s in result.summaries), result.state.value, statistics
