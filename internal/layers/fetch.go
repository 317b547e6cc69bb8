package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

const (
	stall        = time.Minute
	pause        = time.Second
	dialTimeout  = 20 * time.Second
	maxTries     = 5 // in a row that bring nothing
	maxRedirects = 5
	copySize     = 128 << 10
)

// fetch is one Fetch.
type fetch struct {
	Store
	pull   keyway.Pull
	client *http.Client
	told   *teller
	came   atomic.Bool // anything at all
}

// UnreachedError is the error if the registry sent nothing at all. Others may still reach it:
// an engine has proxies of its own.
type UnreachedError struct{ error }

func (e UnreachedError) Unwrap() error { return e.error }

// checkAddress refuses an invalid address of a repository, and, with a login, one without
// encryption.
func checkAddress(p keyway.Pull) error {
	u, err := url.Parse(p.Repository)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/v2/") {
		return keyway.Errorf(keyway.Usage, "%.100q is not the address of a repository", p.Repository)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !p.Login.None() && !keyway.IsLoopback(u.Hostname())) {
		return keyway.Errorf(keyway.Usage, "the connection to %s is not encrypted", u.Host).Hint("have the registry use TLS")
	}
	return nil
}

// authorization is the header that opens a registry.
const authorization = "Authorization"

// newClient follows redirects, which registries answer with, but takes the login to no
// other host, and to nothing that others can listen to.
func newClient() *http.Client {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxConnsPerHost: atOnce, TLSHandshakeTimeout: dialTimeout}
	return &http.Client{Transport: t, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		if len(via) > maxRedirects {
			return errors.New("it redirects in a circle")
		}
		if next.URL.Scheme != first.Scheme && next.URL.Scheme != "https" {
			return errors.New("it redirects to an unencrypted address")
		}
		if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
			next.Header.Del(authorization)
		}
		next.Header.Del("Referer")
		return nil
	}}
}

// fill completes the file of a layer.
func (f *fetch) fill(ctx context.Context, file *os.File, l keyway.Layer) error {
	p := &part{file: file, size: l.Size, sum: sha256.New()}
	if err := p.reread(); err != nil {
		return err
	}
	f.told.add(p.have)
	for tries := 0; p.have < p.size; {
		before := p.have
		err := f.piece(ctx, p, l)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var final *keyway.Error
		if errors.As(err, &final) {
			return err
		}
		if keyway.IsNoSpace(err) {
			return keyway.AsTold(keyway.Errorf(keyway.Other, "no space left for the image at %s: %w", f.Dir, err))
		}
		if tries++; p.have > before {
			tries = 0
		}
		if err != nil && tries >= maxTries {
			if !f.came.Load() {
				err = UnreachedError{err}
			}
			return keyway.Errorf(keyway.Unreachable, "a layer of %s is incomplete: %w", f.pull.Image, err).Hint("try again: the bytes that have arrived are kept")
		}
		if err != nil && sleep.For(ctx, orElse(f.Pause, pause)) != nil {
			return context.Cause(ctx)
		}
	}
	if got := "sha256:" + hex.EncodeToString(p.sum.Sum(nil)); got != l.Digest {
		_ = os.Remove(file.Name()) // the next try begins from the start
		return keyway.Errorf(keyway.Untrusted, "the registry of %s sends another layer than it names: %s for %s", f.pull.Image, got, l.Digest).
			Hint("ask its administrator; the bytes that arrived were removed")
	}
	return nil
}

// piece requests the missing bytes of a layer, and adds those that arrive.
func (f *fetch) piece(ctx context.Context, p *part, l keyway.Layer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(orElse(f.Stall, stall), cancel)
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.pull.Repository+"/blobs/"+l.Digest, nil)
	if err != nil {
		return err
	}
	if header := f.pull.Login.Header(); header != "" {
		req.Header.Set(authorization, header)
	}
	if p.have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", p.have, p.size-1)) // some registries need an end
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if err := f.accept(p, resp); err != nil {
		return err
	}
	return p.take(resp.Body, func(n int) {
		watch.Reset(orElse(f.Stall, stall))
		f.came.Store(true)
		f.told.add(int64(n))
	})
}

// accept determines the kind of the answer. One that begins at the beginning, although the rest was
// asked for, is taken from there.
func (f *fetch) accept(p *part, resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", p.have)):
		return nil
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		f.told.add(-p.have)
		if err := p.restart(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New("it sends another part than the requested one")
		}
		return nil
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return keyway.Errorf(keyway.Denied, "the registry of %s requires another login", f.pull.Image).Hint("log in here: docker login")
	case resp.StatusCode == http.StatusNotFound:
		return keyway.Errorf(keyway.ImageNotFound, "the registry of %s lacks some of its layers", f.pull.Image).Hint("ask who has pushed it")
	}
	return fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// withoutURL returns an error without the address, because the address of a redirect is a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// part is the file of a layer, with its length and sum.
type part struct {
	file *os.File
	have int64 // bytes, all of which are in sum
	size int64 // bytes of the whole layer
	sum  hash.Hash
}

// reread adds the bytes that the file already has.
func (p *part) reread() error {
	st, err := p.file.Stat()
	if err != nil {
		return err
	}
	if st.Size() > p.size {
		return p.restart()
	}
	p.have, err = io.Copy(p.sum, p.file)
	return err
}

func (p *part) restart() error {
	p.have = 0
	p.sum.Reset()
	_, err := p.file.Seek(0, io.SeekStart)
	return errors.Join(err, p.file.Truncate(0))
}

// take adds what comes, and nothing beyond the size of the whole.
func (p *part) take(r io.Reader, each func(n int)) error {
	b := make([]byte, copySize)
	for p.have < p.size {
		n, err := r.Read(b[:min(int64(len(b)), p.size-p.have)])
		if n > 0 {
			if _, err := p.file.Write(b[:n]); err != nil {
				return errors.Join(err, p.file.Truncate(p.have))
			}
			p.sum.Write(b[:n])
			p.have += int64(n)
			each(n)
		}
		if err != nil && p.have < p.size {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}
