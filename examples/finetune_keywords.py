"""Fine-tunes an exported student on keywords with transformers' Trainer.

    gendistiller corpus data --size small --tasks ks
    gendistiller export result/pretrain/my_mini exported --format transformers
    python examples/finetune_keywords.py --student exported --corpus data/speech_commands_v0.01 --out result/keywords

The corpus has a folder of recordings for each word, and validation_list.txt and testing_list.txt, as Speech Commands.
The extra `finetune` brings accelerate, which the Trainer needs. OUT is a folder of transformers with a trained head.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor
from torch.utils.data import Dataset

import s3prl_gendistiller.transformers  # noqa: F401  # isort: skip  registers the student, before the next line
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments

RATE = 16_000


class Keywords(Dataset[dict[str, Any]]):
    """Recordings of one split, each with the number of its word.

    Args:
        corpus: the folder.
        split: "train", "validation" or "testing".
        words: every word of the corpus.
    """

    def __init__(self, corpus: Path, split: str, words: list[str]) -> None:
        lists = {name: set((corpus / f"{name}_list.txt").read_text().split()) for name in ("validation", "testing")}
        held_out = lists["validation"] | lists["testing"]
        files = [path for word in words for path in sorted((corpus / word).glob("*.wav"))]
        names = {path: path.relative_to(corpus).as_posix() for path in files}
        chosen = lists.get(split)
        self.files = [path for path in files if (names[path] in chosen if chosen else names[path] not in held_out)]
        self.labels = [words.index(path.parent.name) for path in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        samples, rate = soundfile.read(self.files[index], dtype="float32")
        if rate != RATE:
            raise SystemExit(f"{self.files[index]}: found {rate} Hz, expected {RATE}; resample the corpus first")
        return {"samples": samples, "labels": self.labels[index]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", required=True, help="folder of gendistiller export --format transformers")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("result/keywords"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--frozen", action="store_true", help="train the head alone")
    args = parser.parse_args()

    words = sorted(path.name for path in args.corpus.iterdir() if path.is_dir() and not path.name.startswith("_"))
    train, test = (Keywords(args.corpus, split, words) for split in ("train", "testing"))
    extractor = AutoFeatureExtractor.from_pretrained(args.student)
    model = AutoModelForAudioClassification.from_pretrained(
        args.student,
        num_labels=len(words),
        id2label=dict(enumerate(words)),
        label2id={word: index for index, word in enumerate(words)},
        use_weighted_layer_sum=True,
    )
    if args.frozen:
        model.freeze_base_model()

    def batch(items: list[dict[str, Any]]) -> dict[str, Tensor]:
        samples = [item["samples"] for item in items]
        inputs = extractor(samples, sampling_rate=RATE, padding=True, return_tensors="pt")
        return {**inputs, "labels": torch.tensor([item["labels"] for item in items])}

    settings = TrainingArguments(
        output_dir=str(args.out),
        max_steps=args.steps,
        per_device_train_batch_size=args.batch,
        per_device_eval_batch_size=args.batch,
        learning_rate=args.lr,
        lr_scheduler_type="linear",
        warmup_steps=args.steps // 10,
        logging_steps=max(1, args.steps // 10),
        save_strategy="no",
        remove_unused_columns=False,
        report_to="none",
    )
    trainer = Trainer(
        model,
        settings,
        data_collator=batch,
        train_dataset=train,
        eval_dataset=test,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    trainer.train()
    print(f"accuracy {trainer.evaluate()['eval_accuracy']:.4f} on {len(test):,} recordings")
    trainer.save_model(str(args.out))
    extractor.save_pretrained(args.out)


if __name__ == "__main__":
    main()
