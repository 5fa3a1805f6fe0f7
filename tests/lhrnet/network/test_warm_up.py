"""A network of other keypoints starts from one that was trained: shared keypoints keep their maps, by name."""

import torch

from lhrnet.network import ModelConfig, adopt, create_model
from lhrnet.skeleton import COCO, SKELETONS

LSP = SKELETONS["lsp"]


def test_maps_of_shared_keypoints_are_the_same_after_it() -> None:
    torch.manual_seed(0)
    trained = create_model(ModelConfig(r=-4, init="kaiming")).eval()
    for parameter in (trained.head.final0.weight, trained.head.final1.weight):
        torch.nn.init.normal_(parameter, std=0.1)
    network = create_model(ModelConfig(r=-4, skeleton=LSP)).eval()
    adopted = adopt(network, trained.state_dict(), COCO)
    assert len(adopted.taken) == 12
    assert adopted.fresh == ("neck", "head_top")
    network.load_state_dict(dict(adopted.weights))
    with torch.no_grad():  # only the maps that both have reach the second resolution
        for net, maps in ((network, 28), (trained, 34)):
            up = net.head.deconv.get_submodule("0").get_parameter("weight")
            up[-maps:] = 0
        image = torch.rand(1, 3, 64, 64)
        for mine, theirs in zip(network(image), trained(image), strict=True):
            for name in adopted.taken:
                for kind in (0, 1):
                    own = mine[0, kind * 14 + LSP.keypoints.index(name)]
                    torch.testing.assert_close(own, theirs[0, kind * 17 + COCO.keypoints.index(name)])


def test_the_maps_that_feed_the_second_resolution_move_with_their_keypoint() -> None:
    trained, network = create_model(ModelConfig(r=-4)), create_model(ModelConfig(r=-4, skeleton=LSP))
    weights = trained.state_dict()
    up, mine = weights["head.deconv.0.weight"], adopt(network, weights, COCO).weights["head.deconv.0.weight"]
    width = up.shape[0] - 34
    assert torch.equal(mine[:width], up[:width])
    knee = LSP.keypoints.index("left_knee"), COCO.keypoints.index("left_knee")
    assert torch.equal(mine[width + knee[0]], up[width + knee[1]])
    assert torch.equal(mine[width + 14 + knee[0]], up[width + 17 + knee[1]])


def test_nothing_in_common_is_said() -> None:
    hand = create_model(ModelConfig(r=-4, skeleton=SKELETONS["hand"]))
    adopted = adopt(hand, create_model(ModelConfig(r=-4)).state_dict(), COCO)
    assert adopted.taken == (), "COCO has a wrist on either side, a hand one that has none"
    assert "new are" in str(adopted)
    hand.load_state_dict(dict(adopted.weights))
