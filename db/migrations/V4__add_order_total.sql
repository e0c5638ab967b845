-- The total moves into the order: the list of orders no longer reads every line.

ALTER TABLE customer_order ADD COLUMN total_cents bigint;

UPDATE customer_order
SET total_cents = coalesce(
    (SELECT sum(quantity::bigint * price_cents) FROM order_line WHERE order_id = customer_order.id), 0);

ALTER TABLE customer_order
    ALTER COLUMN total_cents SET DEFAULT 0,
    ALTER COLUMN total_cents SET NOT NULL,
    ADD CHECK (total_cents >= 0);

CREATE FUNCTION order_line_changes_total() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE customer_order
    SET total_cents = coalesce(
        (SELECT sum(quantity::bigint * price_cents) FROM order_line WHERE order_id = customer_order.id), 0)
    WHERE id IN (OLD.order_id, NEW.order_id);
    RETURN NULL;
END;
$$;

CREATE TRIGGER order_line_changes_total
    AFTER INSERT OR UPDATE OR DELETE ON order_line
    FOR EACH ROW EXECUTE FUNCTION order_line_changes_total();
