//go:build embed_guest && linux && amd64

package assets

import _ "embed"

var (
	//go:embed guest-linux-amd64.gz
	guestGzip []byte
	//go:embed guest-linux-amd64.sha256
	guestHash string
)

func init() { guests["amd64"] = embedded{guestGzip, guestHash} }
