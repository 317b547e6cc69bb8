package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// maxLibpod bounds the bytes of an answer of Podman's own API.
const maxLibpod = 1 << 20

// Libpod sends a request of Podman's own API and decodes the response into answer.
func (c *Client) Libpod(ctx context.Context, method, what string, request, answer any) error {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	dial := c.Dialer()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	req, err := http.NewRequestWithContext(ctx, method, "http://podman/v4.0.0/libpod/"+what, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLibpod))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var failed struct {
			Message string `json:"message"`
		}
		if err := json.Unmarshal(text, &failed); err != nil || failed.Message == "" {
			return fmt.Errorf("it answers %s", resp.Status)
		}
		return errors.New(failed.Message)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the answer of Podman cannot be read: %s: %w", resp.Status, err)
	}
	return nil
}
