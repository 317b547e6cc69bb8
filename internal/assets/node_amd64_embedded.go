//go:build embed_node_amd64

package assets

import _ "embed"

var (
	//go:embed node-linux-amd64.gz
	nodeAMD64Gzip []byte
	//go:embed node-linux-amd64.sha256
	nodeAMD64Hash string
	//go:embed guest-linux-amd64.sha256
	guestAMD64Hash string
)

func init() {
	nodes["amd64"] = embedded{nodeAMD64Gzip, nodeAMD64Hash}
	guestHashes["amd64"] = guestAMD64Hash
}
