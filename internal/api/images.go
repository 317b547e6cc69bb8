package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"keyway/internal/keyway"
)

// ImageRequest is the body of the requests about images.
type ImageRequest struct {
	Engine string `json:"engine,omitempty"`
	Image  string `json:"image,omitempty"`
	// Layers are the layers that HaveLayers looks for.
	Layers []string `json:"layers,omitempty"`
	// Without is the number of lowest layers to omit from an archive.
	Without int `json:"without,omitempty"`
}

// had is the answer of HaveLayers.
type had struct {
	Have int `json:"have"`
}

// maxImageRequest bounds the bytes of such a body: the names of a thousand layers.
const maxImageRequest = 256 << 10

func readImageRequest(r *http.Request) (q ImageRequest, err error) {
	if err = ReadJSON(r.Body, maxImageRequest, &q); err != nil {
		return q, err
	}
	if len(q.Image) > keyway.MaxReference || len(q.Layers) > keyway.MaxLayers || q.Without < 0 || q.Without > keyway.MaxLayers {
		err = keyway.Errorf(keyway.Usage, "no image has such a name, or so many layers")
	}
	return q, err
}

func (h handler) imageLayers(w http.ResponseWriter, r *http.Request) {
	q, err := readImageRequest(r)
	if err != nil {
		WriteError(w, err)
		return
	}
	layers, err := h.node.ImageLayers(r.Context(), q.Engine, q.Image)
	answer(w, layers, err)
}

func (h handler) haveLayers(w http.ResponseWriter, r *http.Request) {
	q, err := readImageRequest(r)
	if err != nil {
		WriteError(w, err)
		return
	}
	n, err := h.node.HaveLayers(r.Context(), q.Engine, q.Layers)
	answer(w, had{n}, err)
}

// exportImage answers with the archive. If it breaks off, its end is missing, and no engine accepts
// it.
func (h handler) exportImage(w http.ResponseWriter, r *http.Request) {
	q, err := readImageRequest(r)
	if err != nil {
		WriteError(w, err)
		return
	}
	archive, err := h.node.ExportImage(r.Context(), q.Engine, q.Image, q.Without)
	if err != nil {
		WriteError(w, err)
		return
	}
	defer archive.Close()
	w.Header().Set("Content-Type", "application/x-tar")
	if err := buffers.Copy(w, archive); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// importImage loads the archive in the body. The query names the image and the engine.
func (h handler) importImage(w http.ResponseWriter, r *http.Request) {
	image := r.URL.Query().Get("image")
	if image == "" || len(image) > keyway.MaxReference {
		WriteError(w, keyway.Errorf(keyway.Usage, "%.100q cannot be the name of an image", image))
		return
	}
	answer(w, struct{}{}, h.node.ImportImage(r.Context(), r.URL.Query().Get("engine"), image, r.Body))
}

// ImageLayers implements Node.
func (c *Client) ImageLayers(ctx context.Context, engine, image string) (l keyway.ImageLayers, err error) {
	err = c.Do(ctx, "POST", "/v1/images/layers", ImageRequest{Engine: engine, Image: image}, &l)
	l.Layers = l.Layers[:min(len(l.Layers), keyway.MaxLayers)]
	return l, err
}

// HaveLayers implements Node.
func (c *Client) HaveLayers(ctx context.Context, engine string, layers []string) (int, error) {
	var n had
	err := c.Do(ctx, "POST", "/v1/images/have", ImageRequest{Engine: engine, Layers: layers}, &n)
	return max(0, min(n.Have, len(layers))), err
}

// ExportImage implements Node.
func (c *Client) ExportImage(ctx context.Context, engine, image string, without int) (io.ReadCloser, error) {
	resp, err := c.send(ctx, "POST", "/v1/images/export", ImageRequest{Engine: engine, Image: image, Without: without})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// ImportImage implements Node.
func (c *Client) ImportImage(ctx context.Context, engine, image string, archive io.Reader) error {
	query := url.Values{"engine": {engine}, "image": {image}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/images/import?"+query.Encode(), archive)
	if err != nil {
		return err
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var nothing struct{}
	return json.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&nothing)
}
