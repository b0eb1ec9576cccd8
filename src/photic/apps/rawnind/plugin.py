"""What the application for raw photographs brings; light, so that listing it costs nothing."""

from __future__ import annotations

from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="rawnind",
    package="photic.apps.rawnind",
    summary="Raw photographs to clean pictures: developed, denoised and demosaiced by networks; DNG, EXR, TIFF, PNG, JPEG out",
    commands={
        "benchmark-codec": Command(
            summary="Rate and quality of Photic's compressors against JPEG XL, JPEG, WebP and AVIF: BD-rates, plot, crops, a page",
            target="photic.apps.rawnind.codec_benchmark.benchmark_codec:main",
        ),
        "compress": Command(
            summary="Compress raw photographs or pictures into .phc files, denoised on the way: a quality level, or bits per pixel",
            target="photic.apps.rawnind.compressing.compress_command:main",
        ),
        "decompress": Command(
            summary="Decode .phc files, whole or a region; .dng .exr .tif .png .jpg, EXIF kept",
            target="photic.apps.rawnind.compressing.decompress_command:main",
        ),
        "develop": Command(
            summary="Develop raw photographs: demosaiced, white-balanced, colour-managed, with EXIF; .exr .tif .png .jpg .dng",
            target="photic.apps.rawnind.develop:main",
        ),
    },
    demo="photic.apps.rawnind.demo:run",
    report="photic.apps.rawnind.report:write_report",
    predictors={
        "raw_denoising": Command(
            summary="Denoise raw files and folders with a strength control; .dng .exr .tif .png .jpg, EXIF kept",
            target="photic.apps.rawnind.predict:main",
        ),
        "compression": Command(
            summary="Compress raw files or pictures into .phc files, as `photic compress` does; `photic decompress` decodes them",
            target="photic.apps.rawnind.compressing.compress_command:predict",
        ),
    },
    file_models={
        "raw_denoising": "photic.apps.rawnind.file_model:RawDenoisingFiles",
        "compression": "photic.apps.rawnind.compressing.file_model:CompressionFiles",
    },
    describers={".phc": "photic.apps.rawnind.compressing.phc_info:describe"},
    default_models={"compression": "rawcompress"},
    evaluators={
        "raw_denoising": Command(
            summary="PSNR and MS-SSIM by ISO value against classical denoising and other models, sheets of crops",
            target="photic.apps.rawnind.evaluating.evaluate:main",
        ),
        "compression": Command(
            summary="PSNR and MS-SSIM over bits per pixel, by ISO value, against JPEG XL, JPEG, WebP, AVIF and other models",
            target="photic.apps.rawnind.codec_benchmark.evaluate_split:main",
        ),
    },
    data_commands={
        "check": Command(
            summary="Say what a prepared folder or a folder of raw files holds: scenes, pairs, exposures, what cannot be used and why",
            target="photic.apps.rawnind.pairs.check_pairs:main",
        ),
        "generate": Command(
            summary="Draw scenes as raw files, clean and noisy, and as developed pictures",
            target="photic.apps.rawnind.synthetic.generate:main",
        ),
        "prepare": Command(
            summary="Raw pictures of the same scenes to aligned, masked pairs of tiles with an index; goes on where it was interrupted",
            target="photic.apps.rawnind.pairs.prepare:main",
        ),
        "download": Command(
            summary="Fetch RawNIND (120 GB), or a part of it, with checksums; goes on where it was interrupted",
            target="photic.apps.rawnind.pairs.download:main",
        ),
    },
)
