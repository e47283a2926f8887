"""The sources of SUPERB's eight corpora: facts, with the place that each fact comes from.

"Not known" stands where no place was found. Addresses and checksums were read in November 2026 from copies of the
named pages and repositories; no file was downloaded. s3prl stands for downstream/docs/superb.md of its git repository
at commit ec8064b (June 2025), torchaudio for its datasets/*.py, HF datasets for datasets/superb/dataset_infos.json of
the git repository huggingface/datasets at commit 040102f.
"""

from __future__ import annotations

from s3prl_gendistiller.superb.corpus.source import Archive, Source

_S3PRL = "https://github.com/s3prl/s3prl.git"
_OPEN_SLR = "https://www.openslr.org/resources/12"
_TENSORFLOW = "http://download.tensorflow.org/data"
_MIRROR = "https://huggingface.co/datasets/ProgramComputer/voxceleb/resolve/main/vox1"
_UNTAR = 'tar -xzf "$ARCHIVES/{}" -C "$SUPERB_DATA{}"'
_UNZIP = 'python3 -m zipfile -e "$ARCHIVES/{}" "$SUPERB_DATA{}"'


LIBRISPEECH = Source(
    home="OpenSLR 12",
    licence="CC BY 4.0",
    page="https://www.openslr.org/12",
    access="free download",
    archives=tuple(
        Archive(f"{name}.tar.gz", f"{_OPEN_SLR}/{name}.tar.gz", size, checksum=md5)
        for name, size, md5 in (
            ("train-clean-100", 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522"),
            ("dev-clean", 337_926_286, "42e2234ba48799c1f50f24a7926300a1"),
            ("test-clean", 346_663_984, "32fa31d27d2e1cad72775fee3f4849a9"),
        )
    ),
    checkouts=(_S3PRL,),
    steps=tuple(_UNTAR.format(f"{name}.tar.gz", "") for name in ("train-clean-100", "dev-clean", "test-clean")),
    lists='--tasks pr asr --make --s3prl "$ARCHIVES/s3prl"',
    notes=(
        "Without a checkout of s3prl, librispeech-lexicon.txt of openslr.org/11 in LibriSpeech/ gives the lexicon.",
    ),
    facts="MD5: OpenSLR's resources/12/md5sum.txt; bytes: HF datasets; layout: s3prl",
)

SPEECH_COMMANDS = Source(
    home="TensorFlow's Speech Commands v0.01 and, apart, its test set",
    licence="CC BY 4.0",
    page="https://www.tensorflow.org/datasets/catalog/speech_commands",
    access="free download",
    archives=(
        Archive(
            "speech_commands_v0.01.tar.gz",
            f"{_TENSORFLOW}/speech_commands_v0.01.tar.gz",
            1_489_096_277,
            checksum="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        ),
        Archive(
            "speech_commands_test_set_v0.01.tar.gz",
            f"{_TENSORFLOW}/speech_commands_test_set_v0.01.tar.gz",
            71_271_436,
            checksum="baa084f6b62c91de660ff0588ae4dfc4e4d534aa99ac0e5f406cba75836cbd00",
        ),
    ),
    steps=(
        'mkdir -p "$SUPERB_DATA/speech_commands_v0.01" "$SUPERB_DATA/speech_commands_test_set_v0.01"',
        _UNTAR.format("speech_commands_v0.01.tar.gz", "/speech_commands_v0.01"),
        _UNTAR.format("speech_commands_test_set_v0.01.tar.gz", "/speech_commands_test_set_v0.01"),
    ),
    lists="--tasks ks",
    notes=("SUPERB takes v0.01. The archives of v0.02 have the same form and give other numbers.",),
    facts="bytes and SHA-256: HF datasets, the first also in torchaudio; layout: s3prl",
)

QUESST = Source(
    home="QUESST 2014 from Brno University of Technology, speech@FIT",
    licence="its own terms",
    page="https://speech.fit.vut.cz/software/quesst-2014-multilingual-database-query-by-example-keyword-spotting",
    access="free download; the licence is not known here, read the archive's own README",
    archives=(
        Archive(
            "quesst14Database.tgz",
            "https://speech.fit.vutbr.cz/files/quesst14Database.tgz",
            about="1.2 GB",
            checksum="4f869e06bc066bbe9c5dde31dbd3909a0870d70291110ebbb38878dcbc2fc5e4",
        ),
    ),
    steps=(_UNTAR.format("quesst14Database.tgz", ""),),
    lists="--tasks qbe",
    notes=("s3prl reads the English queries and documents only (nnenglish in scoring/language_key_*.lst).",),
    facts="address and SHA-256: torchaudio; layout: s3prl; size: a user's notes, the bytes are not known",
)

VOXCELEB = Source(
    home="VoxCeleb1 from VGG, Oxford",
    licence="CC BY 4.0 by the card of its mirror",
    page="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    access="the official page gives no archives today; a form at mm.kaist.ac.kr/datasets/voxceleb, or a mirror",
    archives=tuple(
        Archive(name, f"{_MIRROR}/{name}", about=size, checksum=md5)
        for name, size, md5 in (
            ("vox1_dev_wav_partaa", "10.7 GB", "e395d020928bc15670b570a21695ed96"),
            ("vox1_dev_wav_partab", "10.7 GB", "bbfaaccefab65d82b21903e81a8a8020"),
            ("vox1_dev_wav_partac", "10.7 GB", "017d579a2a96a077f40042ec33e51512"),
            ("vox1_dev_wav_partad", "0.38 GB", "7bb1e9f70fddc7a678fa998ea8b3ba19"),
            ("vox1_test_wav.zip", "1.07 GB", "185fdc63c3c739954633d50379a3d102"),
        )
    ),
    checkouts=(_S3PRL,),
    steps=(
        'mkdir -p "$SUPERB_DATA/VoxCeleb1/dev" "$SUPERB_DATA/VoxCeleb1/test"',
        'cat "$ARCHIVES"/vox1_dev_wav_parta[abcd] > "$ARCHIVES/vox1_dev_wav.zip"',
        _UNZIP.format("vox1_dev_wav.zip", "/VoxCeleb1/dev"),
        _UNZIP.format("vox1_test_wav.zip", "/VoxCeleb1/test"),
    ),
    lists='--tasks sid asv --make --s3prl "$ARCHIVES/s3prl"',
    notes=(
        "Dead: the archives at thor.robots.ox.ac.uk and www.robots.ox.ac.uk, which ask for a password or are gone "
        "(s3prl issue 537, 2024; modelscope/3D-Speaker issue 142, October 2024).",
        "The mirror is the one that s3prl's documents name since issue 537.",
    ),
    facts="MD5: the official page, as PaddleSpeech copies it; sizes: the mirror's list; layout: s3prl",
)

LIBRI2MIX = Source(
    home="Libri2Mix as generate_librimix_sd.sh of s3prl's LibriMix makes it of LibriSpeech (OpenSLR 12) and WHAM noise",
    page="https://github.com/s3prl/LibriMix",
    access="made on your machine of two free downloads; the licence of WHAM noise is on its page, wham.whisper.ai",
    archives=(
        Archive(
            "wham_noise.zip",
            "https://my-bucket-a8b4b49c25c811ee9a7e8bba05fa24c7.s3.amazonaws.com/wham_noise.zip",
            about="17.65 GB, 35 GB unpacked",
        ),
    ),
    checkouts=("https://github.com/s3prl/LibriMix.git",),
    steps=(
        _UNZIP.format("wham_noise.zip", ""),
        '(cd "$ARCHIVES/LibriMix" && bash generate_librimix_sd.sh "$SUPERB_DATA")',
    ),
    lists='--tasks sd --make --librimix "$ARCHIVES/LibriMix"',
    notes=(
        "First lay out LibriSpeech. The script takes LibriSpeech and the noise from SUPERB_DATA, and downloads what is "
        "not there. The script needs SoX and the packages of LibriMix/requirements.txt, and calls `python`.",
        "Dead: the script's own address of the noise, storage.googleapis.com/whisper-public (LibriMix issue 26; espnet "
        "issue 6153, June 2025). Unpack wham_noise.zip before the script runs. The address above is the one of "
        "JorisCos/LibriMix.",
        "No checksum of wham_noise.zip is known.",
    ),
    facts="address: espnet issue 6153; size: a comment in ESPnet's recipe; steps and layout: s3prl and its LibriMix",
)

FLUENT = Source(
    home="Fluent Speech Commands from Fluent.ai",
    licence="its own licence",
    page="https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/",
    access="a form on the official page; the Fluent Speech Commands Public License is a PDF in the archive",
    archives=(
        Archive(
            "fluent.tar.gz",
            "https://huggingface.co/datasets/leo19941227/fluent_speech_commands/resolve/main/fluent.tar.gz",
            about="1.55 GB",
        ),
    ),
    others=(
        Archive(
            "jf8398hf30f0381738rucj3828chfdnchs.tar.gz",
            "http://fluent.ai:2052/jf8398hf30f0381738rucj3828chfdnchs.tar.gz",
            1_544_093_324,
            checksum="4376699f7daf134a9fa57a1d880ffcaaf94a3e2551ba0b40ad894d7abb71aacb",
        ),
    ),
    steps=(_UNTAR.format("fluent.tar.gz", ""),),
    lists="--tasks ic",
    notes=(
        "fluent.tar.gz is the backup that s3prl's documents name since 2024. Its checksum is not known.",
        "Dead: Fluent.ai's own archive at fluent.ai:2052 (s3prl issues 229, 234, 264; 2021 to 2023), and "
        "140.112.21.28:9000/fluent.tar.gz (s3prl issue 567, March 2025).",
        "Kaggle's tommyngx/fluent-speech-corpus is a copy that a user names in s3prl issue 229.",
    ),
    facts="addresses and layout: s3prl; size: the backup's list; SHA-256 of Fluent.ai's archive: HF datasets",
)

SNIPS = Source(
    home="Audio SNIPS of AWS's noisy spoken language understanding data, prepared by s3prl's snips_prepare_data.sh",
    page="https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding",
    access="free download; the licence is the file LICENSE of that repository",
    archives=(Archive("SNIPS.zip", about="11 GB"),),
    others=(
        Archive("audio_slu_v3.zip", "https://shangwel-asr-evaluation.s3-us-west-2.amazonaws.com/audio_slu_v3.zip"),
    ),
    steps=(_UNZIP.format("SNIPS.zip", ""),),
    lists="--tasks sf",
    notes=(
        "SNIPS.zip is the corpus that s3prl's authors have prepared. Save drive.google.com/file/d/"
        "1oBRZd-PaCKz5iY3eZkXs5OB_ZZ4w7bbG under this name. Its checksum is not known.",
        "audio_slu_v3.zip is the official form, in MP3. snips_prepare_data.sh of a checkout of s3prl downloads and "
        'converts it: bash "$ARCHIVES/s3prl/s3prl/preprocess/snips_prepare_data.sh" "$SUPERB_DATA". The script needs '
        "SoX with MP3 (libsox-fmt-mp3) and the Python package `normalise`. This way was not tried here.",
    ),
    facts="both addresses and the steps: s3prl and the README of AWS's repository; size: a user's notes",
)

IEMOCAP = Source(
    home="IEMOCAP from SAIL, University of Southern California",
    licence="a release form to sign",
    page="https://sail.usc.edu/iemocap/",
    access="by agreement: SAIL sends an address after the form (sail.usc.edu/iemocap/iemocap_release.htm)",
    archives=(Archive("IEMOCAP_full_release.tar.gz", about="18 GB"),),
    checkouts=(_S3PRL,),
    steps=(
        _UNTAR.format("IEMOCAP_full_release.tar.gz", ""),
        'mv "$SUPERB_DATA/IEMOCAP_full_release" "$SUPERB_DATA/IEMOCAP"',
    ),
    lists='--tasks er --make --s3prl "$ARCHIVES/s3prl"',
    notes=(
        "No public checksum is known.",
        "SUPERB's tasks read Session1 to Session5: sentences/wav and, without s3prl's lists, dialog/EmoEvaluation.",
    ),
    facts="page: s3prl; size: a user's notes (17.7 GB); layout: s3prl and the archive's README",
)
