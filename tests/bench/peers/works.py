"""The works of lossd_bench as a user of PyTorch writes them, by their names there.

A work is a function of no arguments that makes tensors and returns (loss, arguments, inputs): loss(*arguments) is the
mean that lossd reports; inputs are the tensors whose gradients are wanted, if any. Losses that PyTorch or torchvision
has are theirs; the others are written out in the fewest passes that eager mode allows.
"""

import torch
import torch.nn.functional as F

ELEMENTS = 64 << 20
F32, BF16, F64 = torch.float32, torch.bfloat16, torch.float64

WORKS = {}


def work(name):
    def add(make):
        WORKS[name] = make
        return make

    return add


def normal(*shape, dtype=F32, deviation=1.0):
    return torch.empty(shape, dtype=F32).normal_(0, deviation).to(dtype)


def labels(rows, classes):
    return torch.randint(classes, (rows,))


def coins(*shape):
    return torch.empty(shape).bernoulli_(0.5)


def quantile(predictions, targets, q=0.5):
    d = targets - predictions
    return torch.maximum(q * d, (q - 1) * d).mean()


def log_cosh(predictions, targets):
    d = (predictions - targets).abs()
    return (d + F.softplus(-2 * d)).mean() - 0.6931471805599453


def focal(logits, targets):
    from torchvision.ops import sigmoid_focal_loss

    return sigmoid_focal_loss(logits, targets, alpha=-1, gamma=2, reduction="mean")


ELEMENTWISE = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
    "quantile": quantile,
    "log_cosh": log_cosh,
    "poisson_nll": F.poisson_nll_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "focal": focal,
}


def add_elementwise(name, loss):
    @work(f"element/{name} f32 64M")
    def _():
        binary = name in ("binary_cross_entropy", "focal")
        return loss, (normal(ELEMENTS), coins(ELEMENTS) if binary else normal(ELEMENTS)), ()


def add_divergence(name, items):
    @work(f"element/{name} f32 [65536,1024]")
    def _():
        log_probs = F.log_softmax(normal(65536, 1024), -1)
        targets = F.softmax(normal(65536, 1024), -1)
        return lambda q, p: F.kl_div(q, p, reduction="sum") / items, (log_probs, targets), ()


def add_cross_entropy(dtype, word, rows, classes):
    @work(f"classes/cross_entropy {word} [{rows},{classes}]")
    def _():
        return F.cross_entropy, (normal(rows, classes, dtype=dtype, deviation=2), labels(rows, classes)), ()


def contrastive(first, second, targets):
    d = torch.linalg.vector_norm(first - second, dim=1)
    return torch.where(targets == 0, d * d, F.relu(1 - d).square()).mean() / 2


def center(embeddings, centers, classes):
    return (embeddings - centers[classes]).square().sum(1).mean() / 2


@work("pairs/cosine_embedding f32 [65536,512]")
def _():
    signs = coins(65536) * 2 - 1
    return F.cosine_embedding_loss, (normal(65536, 512), normal(65536, 512), signs), ()


@work("pairs/contrastive f32 [65536,512]")
def _():
    return contrastive, (normal(65536, 512), normal(65536, 512), coins(65536)), ()


@work("pairs/triplet f32 [65536,512]")
def _():
    return F.triplet_margin_loss, tuple(normal(65536, 512) for _ in range(3)), ()


@work("pairs/center f32 [65536,512]")
def _():
    return center, (normal(65536, 512), normal(1000, 512), labels(65536, 1000)), ()


def iou(a, b):
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    inner = sides[:, 0] * sides[:, 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return (1 - inner / (area_a + area_b - inner + 1e-7)).mean()


def box_loss(name):
    import torchvision.ops

    loss = {"giou": torchvision.ops.generalized_box_iou_loss, "diou": torchvision.ops.distance_box_iou_loss,
            "ciou": torchvision.ops.complete_box_iou_loss}[name]
    return lambda a, b: loss(a, b, reduction="mean")


def add_boxes(name):
    @work(f"boxes/{name} f32 16M")
    def _():
        place, size = torch.rand(16_000_000, 2) * 512, torch.rand(16_000_000, 2) * 120 + 8
        moved = place + normal(16_000_000, 2, deviation=20)
        boxes = torch.cat([moved, moved + size], 1), torch.cat([place, place + size], 1)
        return iou if name == "iou" else box_loss(name), boxes, ()


def dice(probs, targets):
    return (1 - 2 * (probs * targets).sum(1) / (probs.sum(1) + targets.sum(1))).mean()


@work("masks/dice probs f32 64M")
def _():
    return dice, (torch.rand(256, 512 * 512), coins(256, 512 * 512)), ()


@work("masks/dice logits f32 64M")
def _():
    return lambda x, y: dice(x.sigmoid(), y), (normal(256, 512 * 512, deviation=2), coins(256, 512 * 512)), ()


def arcface(embeddings, classifier, classes):
    cosines = F.linear(F.normalize(embeddings), F.normalize(classifier)).float()
    place = classes[:, None]
    true = cosines.gather(1, place).clamp(-1, 1)
    return F.cross_entropy(64 * cosines.scatter(1, place, torch.cos(torch.acos(true) + 0.5)), classes)


def softmax(embeddings, classifier, classes):
    return F.cross_entropy(F.linear(embeddings, classifier).float(), classes)


def add_classifier(name, loss, dtype, rows, width, count, gradients=False):
    @work(name)
    def _():
        embeddings = normal(rows, width, dtype=dtype)
        classifier = torch.empty(count, width, dtype=dtype).normal_(0, 0.05)
        inputs = (embeddings, classifier) if gradients else ()
        return loss, (embeddings, classifier, labels(rows, count)), inputs


@work("gradients/mse f32 64M")
def _():
    predictions = normal(ELEMENTS)
    return F.mse_loss, (predictions, normal(ELEMENTS)), (predictions,)


def add_cross_entropy_gradient(rows, classes):
    @work(f"gradients/cross_entropy f32 [{rows},{classes}]")
    def _():
        logits = normal(rows, classes, deviation=2)
        return F.cross_entropy, (logits, labels(rows, classes)), (logits,)


def four_losses(logits, classes):
    logs = F.log_softmax(logits, 1)
    true = logs.gather(1, classes[:, None])[:, 0]
    wrong = (logits.argmax(1) != classes).float().mean()
    entropy = -(logs.exp() * logs).sum(1).mean()
    return -true.mean(), wrong, entropy, ((1 - true.exp()).square() * -true).mean()


@work("several/cross_entropy + zero_one + entropy + focal f32 [65536,1000]")
def _():
    return four_losses, (normal(65536, 1000, deviation=2), labels(65536, 1000)), ()


@work("sequences/ctc f32 T=200 N=64 C=64 S=50")
def _():
    log_probs = F.log_softmax(normal(200, 64, 64), -1)
    targets = torch.randint(1, 64, (64, 50))
    return F.ctc_loss, (log_probs, targets, torch.full((64,), 200), torch.full((64,), 50)), ()


@work("small/mse f32 16, bound once")
def _():
    return F.mse_loss, (normal(16), normal(16)), ()


for _name, _loss in ELEMENTWISE.items():
    add_elementwise(_name, _loss)
add_divergence("kl_divergence", 65536)
add_divergence("kl_divergence pointwise", ELEMENTS)
for _dtype, _word in ((F32, "f32"), (BF16, "bf16")):
    for _rows, _classes in ((65536, 1000), (4096, 32000), (1024, 128256), (1048576, 10)):
        add_cross_entropy(_dtype, _word, _rows, _classes)
for _box in ("iou", "giou", "diou", "ciou"):
    add_boxes(_box)
for _dtype, _word in ((F32, "f32"), (BF16, "bf16"), (F64, "f64")):
    add_classifier(f"classifier/arcface {_word} [1024,512]x100000", arcface, _dtype, 1024, 512, 100000)
add_classifier("classifier/arcface f32 [1024,512]x100000, gradients", arcface, F32, 1024, 512, 100000, gradients=True)
for _dtype, _word in ((F32, "f32"), (BF16, "bf16")):
    for _rows in (64, 16):
        add_classifier(f"head/softmax {_word} [{_rows},4096]x128256", softmax, _dtype, _rows, 4096, 128256)
for _rows, _classes in ((65536, 1000), (2048, 32000)):
    add_cross_entropy_gradient(_rows, _classes)
