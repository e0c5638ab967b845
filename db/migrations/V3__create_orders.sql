-- An order keeps the price of the day: products change theirs.

CREATE TYPE order_status AS ENUM ('open', 'paid', 'shipped', 'cancelled');

CREATE TABLE customer_order (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account,
    status     order_status NOT NULL DEFAULT 'open',
    placed_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX customer_order_account_id_idx ON customer_order (account_id, placed_at DESC);

CREATE TABLE order_line (
    order_id    bigint NOT NULL REFERENCES customer_order ON DELETE CASCADE,
    line        smallint NOT NULL CHECK (line > 0),
    product_id  bigint NOT NULL REFERENCES product,
    quantity    integer NOT NULL CHECK (quantity > 0),
    price_cents integer NOT NULL CHECK (price_cents >= 0),
    PRIMARY KEY (order_id, line)
);

CREATE INDEX order_line_product_id_idx ON order_line (product_id);
