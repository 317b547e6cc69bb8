package inside

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// answers is a daemon whose programs answer with these bytes.
type answers []byte

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		w.Header().Set("Api-Version", "1.44")
	case strings.HasSuffix(r.URL.Path, "/start"):
		_, _ = io.Copy(io.Discard, r.Body) // unread input would reset the connection
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		_, _ = conn.Write(a)
	default:
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"gpus"}`)
	}
}

// TestDevices checks that a broken connection does not count as a list of devices.
func TestDevices(t *testing.T) {
	frame := func(stream byte, text string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(text))), text...)
	}
	both := frame(1, keyway.GPUsHeader+"\nnvidia0\nnvidia1\n")
	for what, c := range map[string]struct {
		said  []byte
		names []string
		told  bool
		fails bool
	}{
		"both":                {said: both, names: []string{"nvidia0", "nvidia1"}, told: true},
		"none":                {said: frame(1, keyway.GPUsHeader+"\n"), told: true},
		"it breaks":           {said: both[:len(both)-len("nvidia1\n")], fails: true},
		"it ends by an error": {said: append(frame(1, keyway.GPUsHeader+"\nnvidia0\n"), frame(2, "killed")...), fails: true},
		"an older guest":      {said: frame(2, "there is no command gpus")},
	} {
		server := httptest.NewServer(answers(c.said))
		t.Cleanup(server.Close)
		client, err := daemon.New(daemon.Options{Host: "tcp://" + server.Listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		names, told, err := Container{Client: client, ID: "c"}.Devices(t.Context())
		if !slices.Equal(names, c.names) || told != c.told || (err != nil) != c.fails {
			t.Errorf("%s: %q, %t, %v", what, names, told, err)
		}
	}
}
