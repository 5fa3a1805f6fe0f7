"""`lhrnet serve`: a page that finds people in the browser."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    model: Annotated[str, typer.Option("--model", "-m", help="An exported .onnx file at any storage URL.")],
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.", min=0, max=65535)] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen at; by default only this machine reaches the page.")
    ] = "127.0.0.1",
    picture: Annotated[Path | None, typer.Option(help="Image file that the page shows to begin with.")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="The onnxruntime-web package as a file or URL [npm's public registry]; read once only."),
    ] = None,
) -> None:
    """Serve one page that finds people in a picture or before the camera; it computes in the browser.

    Nothing leaves the machine while the page is used. The first start fetches onnxruntime-web (33 MB, of one pinned
    version, checked by its sha512) from npm's public registry into the user's cache, unless --runtime names it. Cameras
    are given by browsers to http://127.0.0.1 and https only. Ctrl-C ends it.

    Example: lhrnet serve --model network.onnx --picture photo.jpg
    """
    from rich.console import Console

    from pipeline.serving.onnx_network import OnnxNetwork, is_onnx
    from pipeline.serving.page import runtime as page_runtime
    from pipeline.serving.page.server import PageServer, content
    from pipeline.storage import store
    from pipeline.tracking.progress import Progress

    if not is_onnx(model):
        raise ValueError(f"--model {model} is not an exported network: make one with `lhrnet export {model}`")
    file = store.read_bytes(model)
    card = OnnxNetwork(file, model).card
    if picture is not None and not picture.is_file():
        raise FileNotFoundError(f"there is no picture {picture}")
    if page_runtime.is_cached():
        folder = page_runtime.runtime()
    else:
        with Progress(None, f"fetch onnxruntime-web {page_runtime.VERSION}", "bytes") as progress:
            folder = page_runtime.runtime(runtime or page_runtime.SOURCE, on_bytes=progress.advance)
    given = content(file, card, folder, picture.read_bytes() if picture else None)
    with PageServer(given, host, port) as server:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        console.print(f"{card.model.name}, {card.precision}: open {server.address}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended")
