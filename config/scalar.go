package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	secretType   = reflect.TypeFor[Secret]()
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[time.Duration]()
	settingsType = reflect.TypeFor[Settings]()
	stringsType  = reflect.TypeFor[[]string]()
	secretsType  = reflect.TypeFor[[]Secret]()
)

// parseScalar sets out, which is no struct, map or slice, from its text. Text from the
// environment may spell booleans in more ways. The error goes on from the value: "is not a
// duration ...", so that the caller decides whether the value is shown.
func parseScalar(out reflect.Value, tag reflect.StructTag, text string, fromEnv bool) error {
	switch out.Type() {
	case secretType:
		value, err := checkText(tag, text)
		if err == nil {
			out.Set(reflect.ValueOf(NewSecret(value)))
		}
		return err
	case sizeType:
		return parseNumber(out, tag, text, parseSize)
	case durationType:
		return parseNumber(out, tag, text, func(s string) (int64, error) {
			d, err := parseDuration(s)
			return int64(d), err
		})
	}
	switch out.Kind() {
	case reflect.String:
		value, err := checkText(tag, text)
		if err == nil {
			out.SetString(value)
		}
		return err
	case reflect.Bool:
		b, err := parseBool(text, fromEnv)
		if err == nil {
			out.SetBool(b)
		}
		return err
	case reflect.Int:
		return parseNumber(out, tag, text, parseInt)
	}
	panic("config: no parser for " + out.Type().String())
}

// checkText holds a string to the enum or the format of its tag and returns it as it is
// meant.
func checkText(tag reflect.StructTag, text string) (string, error) {
	if allowed := tag.Get("enum"); allowed != "" {
		return checkEnum(tag, strings.Split(allowed, ","), text)
	}
	if strings.ContainsRune(text, 0) {
		return "", errors.New("holds a NUL byte; remove it")
	}
	name := tag.Get("format")
	if name == "" || text == "" && tag.Get("required") == "" {
		return text, nil
	}
	f, ok := formats[name]
	if !ok {
		panic("config: no format " + name)
	}
	if f.key {
		text = strings.ReplaceAll(text, `\n`, "\n")
	}
	return text, f.check(text)
}

func checkEnum(tag reflect.StructTag, allowed []string, text string) (string, error) {
	if slices.Contains(allowed, text) {
		return text, nil
	}
	for pair := range strings.SplitSeq(tag.Get("also"), ",") {
		if also, meant, _ := strings.Cut(pair, "="); also == text && text != "" {
			return meant, nil
		}
	}
	if text == "" && tag.Get("required") == "" {
		return "", errors.New("is empty; remove the key, or write one of " + strings.Join(allowed, ", "))
	}
	return "", errors.New("is not one of " + strings.Join(allowed, ", "))
}

// parseNumber reads text and holds it to min and max, which are written as the value is.
func parseNumber(out reflect.Value, tag reflect.StructTag, text string, parse func(string) (int64, error)) error {
	n, err := parse(text)
	if err != nil {
		return err
	}
	if least := tag.Get("min"); least != "" {
		if m, _ := parse(least); n < m {
			return errors.New("is too small; at least " + least + " is needed")
		}
	}
	if most := tag.Get("max"); most != "" {
		if m, _ := parse(most); n > m {
			return errors.New("is too large; at most " + most + " is allowed")
		}
	}
	out.SetInt(n)
	return nil
}

func parseBool(text string, fromEnv bool) (bool, error) {
	if fromEnv {
		text = strings.ToLower(strings.TrimSpace(text))
	}
	switch {
	case text == "true":
		return true, nil
	case text == "false":
		return false, nil
	case fromEnv && slices.Contains([]string{"1", "yes", "on", "t", "y"}, text):
		return true, nil
	case fromEnv && slices.Contains([]string{"0", "no", "off", "f", "n", ""}, text):
		return false, nil
	}
	return false, errors.New("is not a boolean; write true or false")
}

func parseInt(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, strconv.IntSize)
	if err != nil {
		return 0, errors.New("is not a whole number; write it in decimal digits")
	}
	return n, nil
}

var sizePattern = regexp.MustCompile(`^(\d{1,18}) ?(B|KiB|MiB|GiB)?$`)

func parseSize(text string) (int64, error) {
	m := sizePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("is not a size; write bytes, or a whole number with B, KiB, MiB or GiB, such as 64KiB")
	}
	unit := map[string]Size{"": 1, "B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB}[m[2]]
	n, _ := strconv.ParseInt(m[1], 10, 64) // 18 digits always fit
	if n > math.MaxInt64/int64(unit) {
		return 0, errors.New("is too large")
	}
	return n * int64(unit), nil
}

// durationPattern is what parseDuration understands: a day is 24 hours.
const durationPattern = `^(0|(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?(\d{1,9}ms)?)$`

var duration = regexp.MustCompile(durationPattern)

func parseDuration(text string) (time.Duration, error) {
	m := duration.FindStringSubmatch(text)
	if m == nil || text == "" {
		return 0, errors.New("is not a duration; write whole numbers with d, h, m, s or ms, such as 15m or 1h30m")
	}
	units := []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second, time.Millisecond}
	var total time.Duration
	for i, unit := range units {
		if m[i+2] == "" {
			continue
		}
		n, _ := strconv.ParseInt(strings.TrimRight(m[i+2], "dhms"), 10, 64) // nine digits always fit
		if time.Duration(n) > (math.MaxInt64-total)/unit {
			return 0, errors.New("is too large; 106751d is the most")
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

// formatDuration writes d as parseDuration reads it.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}
