//go:build !linux

package agent

import (
	"context"
	"errors"
)

func listAs(context.Context, uint32, string) (string, error) {
	return "", errors.New("only Linux's tests become another user")
}
