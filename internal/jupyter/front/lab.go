package front

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// lab is the extension with which a page of JupyterLab 4 or Notebook 7 shows running cells again.
//
//go:embed lab.js
var lab string

// labPath is the path at which these pages request it: below the base, beside the extensions of
// the Jupyter server.
const labPath = "lab/extensions/keyway/continue.js"

// serveLab serves the extension.
func serveLab(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/javascript")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = io.WriteString(w, lab) // fails if the client has left
}

// configOpen begins the configuration in a page of JupyterLab 4 or Notebook 7.
const configOpen = `<script id="jupyter-config-data" type="application/json">`

// addExtension adds the extension to the configuration in a page. It leaves a page unchanged that
// has no such configuration, or whose extensions have an unusual URL.
func (f *Front) addExtension(resp *http.Response) error {
	page, err := readBody(resp.Body)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	page = extended(page, f.upstream.Base)
	resp.Body = io.NopCloser(bytes.NewReader(page))
	resp.ContentLength = int64(len(page))
	resp.Header.Set("Content-Length", strconv.Itoa(len(page)))
	resp.Header.Del("Etag")
	return nil
}

func extended(page []byte, base string) []byte {
	before, rest, ok := bytes.Cut(page, []byte(configOpen))
	config, after, closed := bytes.Cut(rest, []byte("</script>"))
	var all map[string]json.RawMessage
	var extensions []json.RawMessage
	var url string
	if !ok || !closed || json.Unmarshal(config, &all) != nil || json.Unmarshal(all["federated_extensions"], &extensions) != nil ||
		json.Unmarshal(all["fullLabextensionsUrl"], &url) != nil || url != base+"lab/extensions" {
		return page
	}
	extensions = append(extensions, json.RawMessage(`{"name":"keyway","load":"continue.js","extension":"./extension"}`))
	all["federated_extensions"], _ = json.Marshal(extensions) // it was decoded from JSON
	edited, err := json.Marshal(all)                          // escapes text that could end the script
	if err != nil {
		return page
	}
	return bytes.Join([][]byte{before, []byte(configOpen), edited, []byte("</script>"), after}, nil)
}

// pages are the first parts of the paths of such pages.
var pages = []string{"lab", "doc", "notebooks", "tree"}

// maxPage bounds the bytes of a page.
const maxPage = 1 << 20

// isPage reports whether an answer may be such a page, for a path below the base.
func isPage(path string, resp *http.Response) bool {
	first, _, _ := strings.Cut(path, "/")
	return slices.Contains(pages, first) && resp.Request.Method == http.MethodGet && resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Encoding") == "" &&
		strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && resp.ContentLength > 0 && resp.ContentLength <= maxPage
}
