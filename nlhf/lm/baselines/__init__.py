"""What Nash learning is compared with: supervised fine-tuning and direct preference fits."""
