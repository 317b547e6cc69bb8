package keyway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// ImageLayers are a place's report of the layers of an image.
type ImageLayers struct {
	Reference  string   `json:"reference"`
	ID         string   `json:"id"`                    // sha256:…, of its configuration, or of its manifest where containerd keeps the images
	ConfigHash string   `json:"config_hash,omitempty"` // ConfigHash of its configuration; empty: an older node
	Arch       string   `json:"arch"`                  // as Go calls it
	Layers     []string `json:"layers"`                // sha256:… of the content of each, the lowest first
	Size       int64    `json:"size"`                  // bytes of all, unpacked
}

// SameImage reports whether both are one image: by the ID, or, where engines give IDs of
// different kinds, by the layers and the configuration.
func (l ImageLayers) SameImage(other ImageLayers) bool {
	return l.ID != "" && l.ID == other.ID ||
		l.ConfigHash != "" && l.ConfigHash == other.ConfigHash && len(l.Layers) > 0 && slices.Equal(l.Layers, other.Layers)
}

// imageSettings are those of a configuration that decide what runs of an image, or describe
// it. Builds of Docker write others beside them, of the container that a step ran in.
var imageSettings = []string{
	"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck", "OnBuild", "Shell",
}

// ConfigHash returns one hash of an image's configuration, apart from its history and its layers.
// The hash is the same for an engine's description and for the file of the configuration. It is
// empty if config is not a configuration.
func ConfigHash(config []byte) string {
	var c struct {
		Created time.Time                  `json:"created"`
		OS      string                     `json:"os"`
		Arch    string                     `json:"architecture"`
		Config  map[string]json.RawMessage `json:"config"`
	}
	if json.Unmarshal(config, &c) != nil {
		return ""
	}
	said := []any{c.Created.UTC(), c.OS, c.Arch}
	for _, name := range imageSettings {
		var value any
		if raw, ok := c.Config[name]; ok && json.Unmarshal(raw, &value) != nil {
			return ""
		}
		switch v := value.(type) { // none is written in many ways
		case nil:
			continue
		case string:
			if v == "" {
				continue
			}
		case []any:
			if len(v) == 0 {
				continue
			}
		case map[string]any:
			if len(v) == 0 {
				continue
			}
		}
		said = append(said, name, value)
	}
	text, err := json.Marshal(said)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// MaxLayers bounds the layers of one image; engines allow 128.
const MaxLayers = 1024

// MaxReference bounds the name of an image in bytes.
const MaxReference = 512
