//go:build linux

// Package hostile tests keyway, as it is built, against places that lie. The place is a program of
// the test's own under the name ssh on PATH. It speaks as a node does, and answers with what the
// test has written into files, in every field. Its guests are real servers of streams, in the test
// itself.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/unixsock"
)

// envPlace makes the test program the node of the place whose answers are in this
// directory.
const envPlace = "KEYWAY_HOSTILE_PLACE"

// program is keyway, built once.
var program string

func TestMain(m *testing.M) {
	if dir := os.Getenv(envPlace); dir != "" {
		os.Exit(playPlace(dir))
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyway-hostile")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "keyway")
	build := exec.Command("go", "build", "-o", program, "keyway/cmd/keyway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Files in a place's directory. A missing one is answered as by an honest, empty place.
const (
	fileList   = "list"   // body of the answer to GET /v1/workspaces
	fileInfo   = "info"   // of GET /v1/node
	fileCreate = "create" // of PUT /v1/workspaces/NAME: events
	fileGPUs   = "gpus"   // of GET /v1/gpus
	fileTold   = "told"   // of POST /v1/environments
	fileFacts  = "facts"  // of POST /v1/facts
	fileLayers = "layers" // of POST /v1/images/layers
	fileOffers = "offers" // of GET /v1/templates
	fileLacks  = "lacks"  // while it is there the place has no image
	filePulled = "pulled" // written by the place: the bodies of POST /v1/images/pull
	fileAsked  = "asked"  // written by the place: the last body of a PUT
	fileGuest  = "guest"  // the socket to which every guest is relayed
	fileHang   = "hang"   // while it exists the place does not answer
)

// playPlace is the node of a place.
func playPlace(dir string) int {
	for {
		if _, err := os.Stat(filepath.Join(dir, fileHang)); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Print(api.Greeting())
	conn := pipe.Conn(os.Stdin, os.Stdout, func() error { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) })
	if err := api.ServeConn(context.Background(), conn, place(dir)); err != nil {
		return 1
	}
	return 0
}

func place(dir string) http.Handler {
	answer := func(file, otherwise string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				body = []byte(otherwise)
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/workspaces", answer(fileList, `{"workspaces":[]}`))
	mux.HandleFunc("GET /v1/node", answer(fileInfo, `{}`))
	mux.HandleFunc("GET /v1/gpus", answer(fileGPUs, `{"gpus":[]}`))
	mux.HandleFunc("POST /v1/environments", answer(fileTold, `[]`))
	mux.HandleFunc("POST /v1/facts", answer(fileFacts, `{}`))
	mux.HandleFunc("GET /v1/templates", answer(fileOffers, `[]`))
	mux.HandleFunc("POST /v1/images/layers", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(filepath.Join(dir, fileLacks)); err == nil {
			api.WriteError(w, keyway.Errorf(keyway.ImageNotFound, "there is none"))
			return
		}
		answer(fileLayers, `{}`)(w, r)
	})
	mux.HandleFunc("POST /v1/images/pull", func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		_ = os.WriteFile(filepath.Join(dir, filePulled), asked, 0o600)
		api.WriteJSON(w, api.Event{Done: true})
	})
	mux.HandleFunc("PUT /v1/workspaces/{name}", func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		_ = os.WriteFile(filepath.Join(dir, fileAsked), asked, 0o600)
		answer(fileCreate, "")(w, r)
	})
	mux.HandleFunc("POST /v1/workspaces/{name}/stream", func(w http.ResponseWriter, r *http.Request) {
		socket, err := os.ReadFile(filepath.Join(dir, fileGuest))
		if err != nil {
			api.WriteError(w, err)
			return
		}
		guest, err := unixsock.Dial(string(socket))
		if err != nil {
			api.WriteError(w, err)
			return
		}
		flush := http.NewResponseController(w)
		flush.Flush()
		api.Relay(guest, r.Body, flushing{w, flush})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { api.WriteJSON(w, struct{}{}) })
	return mux
}

// flushing sends each piece at once.
type flushing struct {
	io.Writer
	flush *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.flush.Flush()
	}
	return n, err
}
