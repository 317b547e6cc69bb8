package link

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/url"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// proveRequest is the body of POST /v1/places/PLACE/prove.
type proveRequest struct {
	Name    keyway.Name `json:"name"`
	HostKey string      `json:"hostKey"` // public, in authorized_keys form
}

// Prove returns nil only if the guest of a workspace holds hostKey: the key has signed the answer
// to a fresh hello of a stream. A place's statement about a key is a claim, and so is the place's
// SSH key exchange, which it can relay (docs/PROTOCOL.stream.md, "A host key proves itself").
func (c *Client) Prove(ctx context.Context, place keyway.Place, name keyway.Name, hostKey string) error {
	return c.api.Do(ctx, http.MethodPost, "/v1/places/"+url.PathEscape(string(place))+"/prove", proveRequest{name, hostKey}, nil)
}

func (l *Link) prove(w http.ResponseWriter, r *http.Request) {
	var req proveRequest
	uplink, ok := l.read(w, r, 64<<10, &req)
	if !ok {
		return
	}
	_, err := keyway.ParseName(string(req.Name))
	if err == nil {
		err = uplink.prove(r.Context(), req.Name, parseHostKey(req.HostKey))
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, struct{}{})
}

const (
	// proofTime bounds the time for a guest to prove its key, while the uplink to it breaks or it
	// has no room.
	proofTime  = 20 * time.Second
	proofPause = 200 * time.Millisecond
)

// prove demands a signature of key from the guest. It retries while only the uplink fails.
func (u *uplink) prove(ctx context.Context, name keyway.Name, key ed25519.PublicKey) error {
	if key == nil {
		return keyway.Errorf(keyway.Untrusted, "what %s gives as the host key of %s is not an Ed25519 key, and only such a key can be proved", u.place, name)
	}
	limited, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	d := &dialer{uplink: u, name: name, begun: time.Now(), opened: func() bool { return false }}
	for {
		err := d.prove(limited, key)
		if err == nil || stream.IsPermanent(err) || ctx.Err() != nil {
			return unproven(u.place, name, err)
		}
		select {
		case <-time.After(proofPause):
		case <-limited.Done():
			return unproven(u.place, name, err)
		}
	}
}

// prove makes one attempt.
func (d *dialer) prove(ctx context.Context, key ed25519.PublicKey) error {
	conn, err := d.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return stream.Prove(ctx, conn, key)
}

// unproven explains to the user why a key has not been proved.
func unproven(place keyway.Place, name keyway.Name, err error) error {
	var user *keyway.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &user):
		return user
	case errors.Is(err, stream.ErrHostKey):
		return keyway.Errorf(keyway.Untrusted, "the workspace that answers as %s at %s does not hold the host key that %s gives for it", name, place, place).
			Hint("somebody may be in between, or %s lies: ask its administrator", place)
	case errors.Is(err, errPlain):
		return keyway.Errorf(keyway.VersionMismatch, "the guest of %s does not support streams, so its host key cannot prove itself", name).
			Hint("make the workspace again: its guest is older than this keyway")
	}
	return keyway.Errorf(keyway.Unreachable, "the guest of %s at %s has not proved its host key: %w", name, place, err)
}
