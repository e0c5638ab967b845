-- What came in, by month and product.

CREATE VIEW monthly_revenue AS
SELECT
    date_trunc('month', customer_order.placed_at AT TIME ZONE 'UTC')::date AS month,
    product.sku,
    sum(order_line.quantity) AS units,
    sum(order_line.quantity::bigint * order_line.price_cents) AS revenue_cents
FROM customer_order
JOIN order_line ON order_line.order_id = customer_order.id
JOIN product ON product.id = order_line.product_id
WHERE customer_order.status IN ('paid', 'shipped')
GROUP BY 1, 2;
