"""The table of real trained networks: file, shapes, and a real input for each.

The files are no part of the project; they lie in the folder that the fixture ``shared_dir`` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from tests.models import faces, speech, text, yolo
from tests.models.photos import Photos, centre, planes, resize

Arrays = Mapping[str, np.ndarray]
Sample = Callable[[Photos], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        file: below the folder of the framework's models.
        sample: a real input; its shapes are those that the network is compiled for by default.
        quick: small enough for the simulator's reference engine.
        layers: outputs of the graph that OpenCV's reader calls otherwise, and how.
        twin: file that OpenCV reads instead, below the folder of models.
        is_loose: the reference differs: OpenCV adds 1e-6 to variances, where Darknet adds 1e-5.
    """

    name: str
    file: str
    sample: Sample
    quick: bool = False
    framework: str = "onnx"
    layers: Mapping[str, str] = field(default_factory=dict)
    is_loose: bool = False
    twin: str = ""

    def path(self, shared: Path) -> Path:
        return shared / "models" / self.framework / self.file


def photos(shared: Path) -> Photos:
    return Photos(shared / "models" / "images")


def alphabet(shared: Path) -> list[str]:
    """What the columns of the text recogniser mean: nothing, its characters, blank."""
    model = onnx.load(NETWORKS["ppocr_v4_rec"].path(shared), load_external_data=False)
    listed = next(entry.value for entry in model.metadata_props if entry.key == "character")
    return ["", *listed.splitlines(), " "]


# -- what each network takes --------------------------------------------------------------------


def efficientnet_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 3, 224, 224]: the middle, red first, (x - 127) / 128."""
    pixels = centre(photo, 224, 224)[:, :, ::-1].astype(np.float32)
    return planes((pixels - 127) / 128)


_CIFAR_MEAN = np.array([125.307, 122.961, 113.8575], np.float32)
_CIFAR_SPREAD = np.array([51.5865, 50.847, 51.255], np.float32)


def samplenet_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 3, 32, 32]: the middle square; blue first, less the means of blue, green, red."""
    side = min(photo.shape[:2])
    small = resize(centre(photo, side, side), 32, 32, shrink=True).astype(np.float32)
    return planes((small - _CIFAR_MEAN[::-1]) / _CIFAR_SPREAD[::-1])


def samplenet_caffe_input(photo: np.ndarray) -> np.ndarray:
    """The same with red first."""
    return np.ascontiguousarray(samplenet_input(photo)[:, ::-1])


def qr_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 1, 384, 384]: grey, 0 ... 1."""
    import cv2

    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    return planes(resize(grey, 384, 384)[:, :, None].astype(np.float32) / 255)


def _efficientnet(source: Photos) -> dict[str, np.ndarray]:
    return {"x.1": efficientnet_input(source.picture(source.classes()[100][0]))}


def _samplenet(source: Photos) -> dict[str, np.ndarray]:
    return {"data": samplenet_input(source.picture(source.cifar_classes()[3][0]))}


def _rfb(source: Photos) -> dict[str, np.ndarray]:
    return {"input": faces.rfb_input(source.picture("face/ul_19.jpg"))}


def _pnet(source: Photos) -> dict[str, np.ndarray]:
    return {"input_1": faces.pyramid(source.picture("face/ul_13.jpg"))[1][1]}


def _heads(source: Photos, size: int) -> np.ndarray:
    """Squares of 100 pixels from a photo of two people."""
    corners = [(x, y) for y in (20, 60, 100, 140) for x in (60, 120, 200, 300)]
    boxes = np.array([(x, y, x + 100, y + 100) for x, y in corners], np.float32)
    return faces.crops(source.picture("face/ul_13.jpg"), boxes, size)


def _rnet(source: Photos) -> dict[str, np.ndarray]:
    return {"input_2": _heads(source, 24)}


def _onet(source: Photos) -> dict[str, np.ndarray]:
    return {"input_3": _heads(source, 48)}


def _text_detector(source: Photos) -> dict[str, np.ndarray]:
    return {"x": text.page_input(source.picture("ocr/ch_en_num.jpg"))}


def _text_recogniser(source: Photos) -> dict[str, np.ndarray]:
    return {"x": text.pieces(source.picture("ocr/text_rec.jpg"))[0]}


def tiny_darknet_input(photo: np.ndarray) -> np.ndarray:
    """f32[1, 3, 224, 224]: the middle, red first, 0 ... 1."""
    return planes(centre(photo, 224, 224)[:, :, ::-1].astype(np.float32) / 255)


def _tiny_darknet(source: Photos) -> dict[str, np.ndarray]:
    return {"data": tiny_darknet_input(source.picture(source.classes()[100][0]))}


def _dog(source: Photos) -> dict[str, np.ndarray]:
    return yolo.NANO.inputs(source.picture("detect/dog.jpg"))


def _samplenet_caffe(source: Photos) -> dict[str, np.ndarray]:
    return {"data": samplenet_caffe_input(source.picture(source.cifar_classes()[3][0]))}


def _qr(source: Photos) -> dict[str, np.ndarray]:
    return {"data": qr_input(source.picture("detect/qr_on_photo.png"))}


def digit_input(picture: np.ndarray) -> np.ndarray:
    """f32[1, 1, 28, 28]: grey, 0 ... 1."""
    return planes(picture[:, :, :1].astype(np.float32) / 255)


def _digit(source: Photos) -> dict[str, np.ndarray]:
    return {"data": digit_input(source.picture("mnist/7.jpg"))}


def _upright(sample: Sample) -> Sample:
    def upright(source: Photos) -> dict[str, np.ndarray]:
        (array,) = sample(source).values()
        return {"data": np.ascontiguousarray(array.transpose(0, 3, 2, 1)[:, ::-1])}

    return upright


def _channels_first(sample: Sample) -> Sample:
    def first(source: Photos) -> dict[str, np.ndarray]:
        (array,) = sample(source).values()
        return {"data": np.ascontiguousarray(array.transpose(0, 3, 1, 2))}

    return first


def _voice(source: Photos) -> dict[str, np.ndarray]:
    sound = source.sound()
    state = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 1, 128)).astype(np.float32)
    return speech.inputs(speech.windows(sound)[60], state)


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("efficientnet_lite0", "efficientnet_lite0/efficientnet_lite0.onnx", _efficientnet),
        Network("rfb_320", "ultralight_rfb_320/version-RFB-320.onnx", _rfb),
        Network("rfb_320_simplified", "ultralight_rfb_320/version-RFB-320_simplified.onnx", _rfb),
        Network("mtcnn_pnet", "mtcnn/pnet.onnx", _pnet, quick=True),
        Network("mtcnn_rnet", "mtcnn/rnet.onnx", _rnet, quick=True),
        Network("mtcnn_onet", "mtcnn/onet.onnx", _onet, quick=True),
        Network("samplenet", "samplenet/samplenet.onnx", _samplenet, quick=True),
        Network("ppocr_v4_det", "ppocr_v4_det/ch_PP-OCRv4_det_infer.onnx", _text_detector),
        Network("ppocr_v4_rec", "ppocr_v4_rec/ch_PP-OCRv4_rec_infer.onnx", _text_recogniser),
        Network("silero_vad", "silero_vad/silero_vad_16k_op15.onnx", _voice, quick=True),
        Network(
            "tiny_darknet",
            "tiny_darknet/tiny.cfg",
            _tiny_darknet,
            framework="darknet",
            is_loose=True,
            layers={"softmax_21": "softmax_21"},
        ),
        Network(
            "yolo_fastest",
            "yolo_fastest_1_1/yolo-fastest-1.1.cfg",
            _dog,
            framework="darknet",
            is_loose=True,
            layers={"yolo_121": "conv_120", "yolo_130": "conv_129"},
        ),
        Network(
            "yolo_nano_voc",
            "mobilenetv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.cfg",
            _dog,
            framework="darknet",
            is_loose=True,
            layers={"yolo_69": "conv_68", "yolo_79": "conv_78"},
        ),
        Network(
            "caffe_tiny_darknet",
            "tiny_darknet/tiny_darknet.prototxt",
            _tiny_darknet,
            framework="caffe",
        ),
        Network(
            "caffe_samplenet",
            "samplenet/SampLeNet.prototxt",
            _samplenet_caffe,
            quick=True,
            framework="caffe",
        ),
        Network("caffe_rfb_320", "ultralight_rfb_320/RFB-320.prototxt", _rfb, framework="caffe"),
        Network(
            "caffe_pnet", "mtcnn/det1.prototxt", _channels_first(_pnet), True, framework="caffe"
        ),
        Network(
            "caffe_rnet", "mtcnn/det2.prototxt", _channels_first(_rnet), True, framework="caffe"
        ),
        Network(
            "caffe_onet", "mtcnn/det3.prototxt", _channels_first(_onet), True, framework="caffe"
        ),
        Network("caffe_qr", "wechat_qr_detect/detect.prototxt", _qr, framework="caffe"),
        Network(
            "caffe_yolo_nano_voc",
            "mobilenetv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.prototxt",
            _dog,
            framework="caffe",
            # OpenCV lacks the layer Upsample, but reads the same network from Darknet's files.
            twin="darknet/mobilenetv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.cfg",
            is_loose=True,
            layers={"layer69-conv": "conv_68", "layer79-conv": "conv_78"},
        ),
        Network("mxnet_lenet", "lenet/lenet-symbol.json", _digit, True, "mxnet"),
        Network("mxnet_samplenet", "samplenet/samplenet-symbol.json", _samplenet, True, "mxnet"),
        Network("mxnet_pnet", "mtcnn/det1-symbol.json", _upright(_pnet), True, "mxnet"),
        Network("mxnet_rnet", "mtcnn/det2-symbol.json", _upright(_rnet), True, "mxnet"),
        Network("mxnet_onet", "mtcnn/det3-symbol.json", _upright(_onet), True, "mxnet"),
    )
}
