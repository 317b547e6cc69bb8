//go:build embed_nodes

package assets

import _ "embed"

var (
	//go:embed node-linux-amd64.gz
	amd64Gzip []byte
	//go:embed node-linux-amd64.sha256
	amd64Hash string
	//go:embed node-linux-arm64.gz
	arm64Gzip []byte
	//go:embed node-linux-arm64.sha256
	arm64Hash string
)

func init() {
	nodes = map[string]embedded{"amd64": {amd64Gzip, amd64Hash}, "arm64": {arm64Gzip, arm64Hash}}
}
