package front

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"keyway/test/await"
)

// frames are invalid in both directions of a websocket.
var frames = map[string][]byte{
	"a length of 2^63":             {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
	"a length of 2^63-1":           {0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	"more than a message may have": {0x82, 127, 0, 0, 0, 0, 0x04, 0, 0, 1},
	"a control frame in fragments": {0x09, 0},
	"a large control frame":        {0x89, 126, 0, 200},
	"a length that is not short":   {0x89, 127, 0, 0, 0, 0, 0, 0, 0, 1},
	"an unknown kind":              {0x83, 0},
	"an unknown control frame":     {0x8b, 0},
	"a reserved bit":               {0xc2, 0},
	"a continuation of nothing":    {0x80, 0},
	"a message within another":     {0x02, 0, 0x02, 0},
	"half a close code":            {0x88, 1, 0},
	"a close code that is none":    {0x88, 2, 0, 1},
}

// masked turns a server's frame into a client's, with a mask of zeros.
func masked(frame []byte) []byte {
	var all []byte
	for len(frame) > 0 {
		head, n := 2, int(frame[1])
		switch n {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		all = append(append(append(all, frame[0], frame[1]|0x80), frame[2:head]...), 0, 0, 0, 0)
		rest := frame[head:]
		if n > 125 {
			return append(all, rest...)
		}
		all, frame = append(all, rest[:n]...), rest[n:]
	}
	return all
}

// bomb returns a compressed message of 200 MB: the same MB each time, since compressing all of them
// takes long.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err == nil {
		_, err = w.Write(make([]byte, 1<<20))
	}
	if err == nil {
		err = w.Flush() // to a whole number of bytes
	}
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.Repeat(b.Bytes(), 200)
	if n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(all))); n != 200<<20 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	n := len(all) - 4 // without the end that RFC 7692 leaves out
	head := []byte{0xc2, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	return append(head, all[:n]...)
}

// TestHostileServer checks a server that breaks the protocol on a kernel's websocket. It checks
// that the connection ends, that the front uses little memory, and that it still serves other
// notebooks and kernels.
func TestHostileServer(t *testing.T) {
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	type way struct {
		head string // headers of the handshake
		data []byte
	}
	ways := map[string]way{"compressed, unasked": {deflate, bomb(t)}, "masked": {"", masked([]byte{0x82, 0})}, "endless fragments": {"", bytes.Repeat(append([]byte{0x00, 126, 0x80, 0}, make([]byte, 0x8000)...), 2200)}}
	ways["endless fragments"].data[0] = 0x02
	for name, frame := range frames {
		ways[name] = way{"", frame}
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			ended := make(chan bool, 100)
			f.raw = func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%sSec-WebSocket-Accept: %s\r\n\r\n", way.head, base64.StdEncoding.EncodeToString(sum[:]))
				_, _ = conn.Write(way.data) // until the other end closes the connection
				_ = conn.SetReadDeadline(time.Now().Add(await.Patience))
				if _, err = io.Copy(io.Discard, conn); err == nil || !strings.Contains(err.Error(), "timeout") {
					ended <- true
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			front, at := f.before(t.TempDir())
			if err := front.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(await.Patience):
				t.Error("the connection stays")
			}
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 400<<20 {
				t.Errorf("%d MB were taken", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
			if code, data := get(t, at, "keyway/kernels"); code != http.StatusOK || !bytes.Contains(data, []byte(theKernel)) {
				t.Errorf("the kernels: %d %s", code, data)
			}
		})
	}
}

// TestHostileClient checks a client with the token that breaks the protocols. It gets an error or
// loses its connection. Only complete requests reach the Jupyter server, with that server's token,
// and other clients are still served.
func TestHostileClient(t *testing.T) {
	f := newFake(t)
	_, at := f.before(t.TempDir())
	auth := "Authorization: token " + token + "\r\n"
	send := func(request string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(await.Patience))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	const here = "Host: localhost\r\n"
	put := "PUT /base/api/contents/dir/x.ipynb HTTP/1.1\r\n" + here + auth
	smuggled := "GET /base/api/smuggled HTTP/1.1\r\n" + here + "\r\n"
	for name, c := range map[string]struct {
		request string
		half    bool   // the client closes its sending half
		want    string // status codes of the answers
	}{
		"another host in the line":        {"GET http://evil.example/base/page HTTP/1.1\r\n" + here + auth + "\r\n", true, "403"},
		"two hosts":                       {"GET /base/page HTTP/1.1\r\n" + here + "Host: evil.example\r\n" + auth + "\r\n", true, "400"},
		"no host":                         {"GET /base/page HTTP/1.1\r\n" + auth + "\r\n", true, "400"},
		"two lengths":                     {put + "Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}" + smuggled, true, "400"},
		"a negative length":               {put + "Content-Length: -1\r\n\r\n", true, "400"},
		"a length beyond numbers":         {put + "Content-Length: 99999999999999999999\r\n\r\n", true, "400"},
		"a length and chunks":             {put + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled, false, "200"},
		"chunks twice":                    {put + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + smuggled, true, "501"},
		"chunks in another word":          {put + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled, true, "400 501"},
		"a chunk beyond numbers":          {put + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + smuggled, true, "413"},
		"a chunk that is no number":       {put + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + smuggled, true, "413"},
		"less than the length":            {put + "Content-Length: 1000\r\n\r\n{}", true, "413"},
		"a space before the colon":        {"GET /base/page HTTP/1.1\r\n" + here + auth + "Content-Length : 5\r\n\r\n", true, "400"},
		"a NUL in a header":               {"GET /base/page HTTP/1.1\r\n" + here + auth + "X: a\x00b\r\n\r\n", true, "400"},
		"a header of 2 MB":                {"GET /base/page HTTP/1.1\r\n" + here + auth + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", false, "431"},
		"the token named as hop by hop":   {"GET /base/page HTTP/1.1\r\n" + here + auth + "Connection: close, Authorization\r\n\r\n", false, "200"},
		"the same, of a notebook":         {"GET /base/api/contents/dir/x.ipynb HTTP/1.1\r\n" + here + auth + "Connection: close, Authorization\r\n\r\n", false, "200"},
		"an upgrade to something unknown": {"GET /base/page HTTP/1.1\r\n" + here + auth + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false, "200"},
	} {
		conn := send(c.request)
		if c.half {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(c.want, fmt.Sprint(resp.StatusCode)) {
			t.Errorf("%s: %s", name, resp.Status)
		}
		_ = conn.Close()
	}
	frames["not masked"] = []byte{0x82, 0}
	defer delete(frames, "not masked")
	for name, frame := range frames {
		conn := send("GET /base/api/kernels/" + theKernel + "/channels?session_id=x HTTP/1.1\r\n" + here + auth +
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Fatalf("%s: %v %v", name, resp, err)
		}
		if name != "not masked" {
			frame = masked(frame)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection stays", name)
		}
		_ = conn.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.seen {
		if strings.Contains(r.URL.Path, "smuggled") || r.Header.Get("Authorization") != "token "+theirs || r.Header.Get("Upgrade") == "h2c" && r.Header.Get("Connection") == "" {
			t.Errorf("the Jupyter server got %s %s %v", r.Method, r.URL, r.Header)
		}
	}
}
