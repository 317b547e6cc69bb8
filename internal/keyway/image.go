package keyway

// ImageLayers are what an image at a place is made of, as the place claims.
type ImageLayers struct {
	Reference string   `json:"reference"`
	ID        string   `json:"id"`     // sha256:…, of its configuration
	Arch      string   `json:"arch"`   // as Go calls it
	Layers    []string `json:"layers"` // sha256:… of the content of each, the lowest first
	Size      int64    `json:"size"`   // bytes of all, unpacked
}

// MaxLayers bounds the layers of one image; engines allow 128.
const MaxLayers = 1024

// MaxReference bounds the name of an image in bytes.
const MaxReference = 512
