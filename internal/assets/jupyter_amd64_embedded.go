//go:build embed_node_amd64

package assets

import _ "embed"

var (
	//go:embed jupyter-linux-amd64.gz
	jupyterAMD64Gzip []byte
	//go:embed jupyter-linux-amd64.sha256
	jupyterAMD64Hash string
)

func init() { jupyters["amd64"] = embedded{jupyterAMD64Gzip, jupyterAMD64Hash} }
