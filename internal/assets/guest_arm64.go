//go:build embed_guest && linux && arm64

package assets

import _ "embed"

var (
	//go:embed guest-linux-arm64.gz
	guestGzip []byte
	//go:embed guest-linux-arm64.sha256
	guestHash string
)

func init() { guests["arm64"] = embedded{guestGzip, guestHash} }
