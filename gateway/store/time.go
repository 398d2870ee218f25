package store

import (
	"database/sql"
	"fmt"
	"time"
)

// Dest returns what an engine scans a row into for dest. A time may be NULL, which is the
// zero time, and an engine without a type for times keeps microseconds of the Unix epoch.
func Dest(dest []any) []any {
	out := make([]any, len(dest))
	for i, d := range dest {
		if t, ok := d.(*time.Time); ok {
			d = instant{t}
		}
		out[i] = d
	}
	return out
}

type instant struct{ to *time.Time }

var _ sql.Scanner = instant{}

// Scan implements [sql.Scanner].
func (i instant) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*i.to = time.Time{}
	case time.Time:
		*i.to = v.UTC()
	case int64:
		*i.to = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time was expected, not %T", v)
	}
	return nil
}
