"""The commands of `triune`, one file each: its settings, and ``run``, which the command line calls."""

COMMANDS = {
    "demo": "Train on real digits and write a report to look at.",
    "train": "Train on a table, a folder or a named data set; evaluate and report; torchrun divides it.",
    "evaluate": "Judge a run again, a file of embeddings, or scored pairs; torchrun divides it.",
    "verify": "Say whether two images show the same thing, or each pair of many.",
    "predict": "Class and mask of new images, as a table and PNG files.",
    "embed": "Embeddings of new images, as Parquet, or .npy with their names beside it; torchrun divides it.",
    "index": "Embed images into a gallery, to be searched.",
    "search": "The images of a gallery that are most alike.",
    "identify": "Say who is on an image, of those enrolled in a gallery; or nobody of them.",
    "gallery": "What a gallery holds; remove rows, find near-duplicates, go back.",
    "fewshot": "Name images of new classes after a few examples of each.",
    "serve": "Serve a run, and a gallery, by HTTP, with a page to try it on.",
    "audit": "Look for mistakes in data: likely wrong labels, pictures that occur twice, outliers.",
    "export": "Write a run as one file that needs neither torch nor timm: ONNX.",
    "report": "Write a run's report again.",
}
"""What each does, as help says it; its file is that of its name."""

TRAINING = ("train", "demo")
"""Those that train, on GPUs where there are some."""

DIVIDED = ("evaluate", "embed", *TRAINING)
"""Those whose work the processes of torchrun share."""
