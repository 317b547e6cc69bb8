package gpu

import (
	"context"
	"errors"
)

// directory is no store on Windows, where no node runs.
type directory struct{ path string }

func (directory) lock(context.Context) (func(), error) { return nil, errors.ErrUnsupported }
func (directory) hold(string) (holding, error)         { return nil, errors.ErrUnsupported }
func (directory) look(string) ([]byte, bool, error)    { return nil, false, errors.ErrUnsupported }
func (directory) list(string) ([]string, error)        { return nil, errors.ErrUnsupported }

func openToAll(string) bool { return false }
