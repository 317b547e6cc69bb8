package daemon

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/docker/go-connections/sockets"
	"github.com/moby/moby/client"
)

// maxAnswer bounds the bytes of a daemon's answer, unless it is a stream that is passed on in
// pieces. A listing of thousands of containers is smaller. The server that DOCKER_HOST names may
// answer without end, and the client's decoder would keep all of it.
const maxAnswer = 16 << 20

// boundedTransport is a transport whose answers end with an error at maxAnswer bytes.
type boundedTransport struct{ *http.Transport }

// boundedClient returns an HTTP client for a daemon that is reached without TLS.
func boundedClient(host string) (*http.Client, error) {
	at, err := client.ParseHostURL(host)
	if err != nil {
		return nil, err
	}
	t := new(http.Transport)
	if err := sockets.ConfigureTransport(t, at.Scheme, at.Host); err != nil {
		return nil, err
	}
	return &http.Client{Transport: boundedTransport{t}, CheckRedirect: client.CheckRedirect}, nil
}

func (b boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols && !isStream(req.Method, req.URL.Path) {
		resp.Body = &boundedBody{resp.Body, maxAnswer}
	}
	return resp, err
}

// isStream reports whether the answer to a request is passed on as it comes: an image, a file, the
// output of a container, or the progress of a pull.
func isStream(method, path string) bool {
	switch last := path[strings.LastIndexByte(path, '/')+1:]; last {
	case "get", "archive", "logs":
		return method == http.MethodGet
	case "load":
		return true
	default:
		return last == "create" && strings.HasSuffix(path, "/images/create")
	}
}

type boundedBody struct {
	io.ReadCloser
	left int
}

var errEndless = errors.New("the answer of the daemon does not end")

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEndless
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
