package link

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"keyway/internal/unixsock"
)

// TestNoRequestToAReplacedLink checks that a command which has replaced a link sends nothing on the
// connection on which it asked that link for its state: the link closes it, perhaps when the request
// is on its way, and a request that changes something is not sent twice.
func TestNoRequestToAReplacedLink(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "keyway")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho "+Ready+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := unixsock.Listen(filepath.Join(dir, SocketName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	type connection struct{}
	used := map[int][]string{} // by connection
	opened := 0
	server := &http.Server{
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			mu.Lock()
			defer mu.Unlock()
			opened++
			return context.WithValue(ctx, connection{}, opened)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n := r.Context().Value(connection{}).(int)
			used[n] = append(used[n], r.Method)
			if r.Method == http.MethodGet {
				_ = json.NewEncoder(w).Encode(Status{PID: os.Getpid(), Identity: "another build", Movable: true})
			}
		}),
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c, err := Open(t.Context(), dir, program, filepath.Join(dir, "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.rt.CloseIdleConnections()
	if err := c.api.Do(t.Context(), http.MethodPost, "/v1/places/gpu1/connect", nil, nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for n, methods := range used {
		if len(methods) > 1 {
			t.Errorf("connection %d has carried %v", n, methods)
		}
	}
}
