package dbpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
)

// DSN returns a connector for a data source name, as [database/sql.Open] would use it:
// the driver must have been registered by [database/sql.Register], which its package
// does when it is imported. It does not dial. The error is a [*FieldError] if there is no
// driver of that name, or if the driver refuses the data source name; some drivers look
// at it only when they dial. A driver without [driver.DriverContext] ignores the context
// of a dial; the [Connector] around it returns at the end of the context all the same.
func DSN(driverName, dsn string) (driver.Connector, error) {
	if !slices.Contains(sql.Drivers(), driverName) {
		return nil, &FieldError{
			Field: "driverName", Value: driverName,
			Reason: fmt.Sprintf("is not one of %q; forgotten import?", sql.Drivers()),
		}
	}
	db, err := sql.Open(driverName, dsn) // the only way to a driver by name
	if err != nil {
		return nil, refused(err)
	}
	d := db.Driver()
	_ = db.Close()
	modern, ok := d.(driver.DriverContext)
	if !ok {
		return old{driver: d, dsn: dsn}, nil
	}
	c, err := modern.OpenConnector(dsn) // a new one: Close may have closed the other
	if err != nil {
		return nil, refused(err)
	}
	return c, nil
}

// refused leaves the data source name out: it may hold a password.
func refused(err error) error {
	return &FieldError{Field: "dsn", Reason: "the driver refuses it", Err: err}
}

// old is a connector for drivers from before there were connectors.
type old struct {
	driver driver.Driver
	dsn    string
}

func (o old) Connect(context.Context) (driver.Conn, error) { return o.driver.Open(o.dsn) }
func (o old) Driver() driver.Driver                        { return o.driver }
