//go:build embed_node_arm64

package assets

import _ "embed"

var (
	//go:embed node-linux-arm64.gz
	nodeARM64Gzip []byte
	//go:embed node-linux-arm64.sha256
	nodeARM64Hash string
	//go:embed guest-linux-arm64.sha256
	guestARM64Hash string
)

func init() {
	nodes["arm64"] = embedded{nodeARM64Gzip, nodeARM64Hash}
	guestHashes["arm64"] = guestARM64Hash
}
