//go:build embed_node_arm64

package assets

import _ "embed"

var (
	//go:embed jupyter-linux-arm64.gz
	jupyterARM64Gzip []byte
	//go:embed jupyter-linux-arm64.sha256
	jupyterARM64Hash string
)

func init() { jupyters["arm64"] = embedded{jupyterARM64Gzip, jupyterARM64Hash} }
